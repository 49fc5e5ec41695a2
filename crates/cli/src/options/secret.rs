//! `--secret`.

use base64::Engine as _;
use serde_json::{Value, json};

use super::csv;

/// Reads `id=NAME[,src=FILE|,env=VARIABLE][,target=PATH][,uid=N][,gid=N][,mode=OCTAL]`. A file is the engine's to read, like the source
/// of a bind mount; a variable is ours, and by default called as the secret.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let wrong = |what: String| format!("invalid argument {text:?} for \"--secret\" flag: {what}");
    let mut secret = json!({ "Mode": 0o444 });
    let (mut file, mut variable) = (None, None);
    for field in csv::fields(text).map_err(&wrong)? {
        let Some((key, value)) = field.split_once('=') else {
            return Err(wrong(format!("invalid field '{field}' must be a key=value pair")));
        };
        let number = |radix| {
            u32::from_str_radix(value, radix)
                .map_err(|_| wrong(format!("invalid number for '{key}': {value}")))
        };
        match key {
            "id" => secret["ID"] = value.into(),
            "src" | "source" => file = Some(value.to_owned()),
            "env" => variable = Some(value.to_owned()),
            "target" | "dst" | "destination" => secret["Target"] = value.into(),
            "uid" => secret["UID"] = number(10)?.into(),
            "gid" => secret["GID"] = number(10)?.into(),
            "mode" => secret["Mode"] = number(8)?.into(),
            _ => return Err(wrong(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    let Some(id) = secret["ID"].as_str().filter(|id| !id.is_empty()).map(str::to_owned) else {
        return Err(wrong("an id is needed".to_owned()));
    };
    match (file, variable) {
        (Some(_), Some(_)) => return Err(wrong("src and env exclude each other".to_owned())),
        (Some(file), None) => {
            let path = std::path::absolute(&file).map_err(|e| wrong(format!("{file}: {e}")))?;
            secret["Source"] = path.to_string_lossy().into();
        }
        (None, variable) => {
            use std::os::unix::ffi::OsStringExt;
            let name = variable.unwrap_or(id);
            let Some(value) = std::env::var_os(&name) else {
                return Err(wrong(format!("the environment has no variable {name}")));
            };
            secret["Data"] = base64::engine::general_purpose::STANDARD.encode(value.into_vec()).into();
        }
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let secret = parse("id=db,src=/etc/x,target=a,uid=5,gid=6,mode=0400").unwrap();
        let expected =
            json!({ "ID": "db", "Source": "/etc/x", "Target": "a", "UID": 5, "GID": 6, "Mode": 0o400 });
        assert_eq!(secret, expected);
        // Every environment has this one.
        let path = base64::engine::general_purpose::STANDARD.encode(std::env::var("PATH").unwrap());
        assert_eq!(parse("id=PATH").unwrap()["Data"], path);
        assert_eq!(parse("id=x,env=PATH").unwrap()["Data"], path);
    }

    #[test]
    fn wrong_ones_are_refused() {
        for (text, what) in [
            ("src=/x", "an id is needed"),
            ("id=a,src=x,env=y", "src and env exclude each other"),
            ("id=a,env=NO_SUCH_VARIABLE", "the environment has no variable NO_SUCH_VARIABLE"),
            ("id=a,mode=9", "invalid number for 'mode': 9"),
            ("id=a,x=y", "unexpected key 'x' in 'x=y'"),
            ("id", "invalid field 'id' must be a key=value pair"),
        ] {
            assert!(parse(text).unwrap_err().ends_with(what), "{text}: {:?}", parse(text));
        }
    }
}
