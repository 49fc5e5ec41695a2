//! What the other engine of the comparison cannot be asked for: its init program is not installed.

use anyhow::Result;
use serde_json::json;

use crate::Test;

#[test]
fn init_reaps_and_passes_on_the_exit_code() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", "cat /proc/1/comm; echo $$; exit 6"]);
    body["HostConfig"]["Init"] = json!(true);
    let ran = test.run(&body)?;
    assert_eq!(ran.code, 6);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_ne!(lines[0], "sh");
    assert_ne!(lines[1], "1");
    Ok(())
}
