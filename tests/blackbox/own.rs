//! What the other engine of the comparison cannot be asked for: its init program is not installed, and it forgets.

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

/// A client that starts a container and then asks for its end may be slower than the container.
#[test]
fn the_end_of_a_container_that_removed_itself_is_remembered() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", "exit 3"]);
    body["HostConfig"]["AutoRemove"] = json!(true);
    let id = test.up(&body)?;
    test.until("it is gone", |test| Ok(test.client.get(&format!("/containers/{id}/json"))?.status == 404))?;
    assert_eq!(test.wait(&id)?, 3);
    assert_eq!(test.act(&"0".repeat(64), "wait")?.status, 404);
    Ok(())
}
