//! How much of a log is kept on disk.

use crate::{Driver, OptionError, Options};

/// Bounds of a log's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// A file is not made larger than this many bytes; 0 for no bound.
    pub max_size: u64,
    /// How many files, at least 1.
    pub max_files: u32,
    /// Compress all but the newest.
    pub compress: bool,
}

/// Five files of 20 MB. Docker's own default for `json-file` is one file without bound.
const JSON_FILE: FileLimits = FileLimits { max_size: 20_000_000, max_files: 5, compress: false };
/// Docker's for `local`, and for what it keeps of a log that goes elsewhere.
const LOCAL: FileLimits = FileLimits { max_size: 20 << 20, max_files: 5, compress: true };

impl FileLimits {
    /// What the options say.
    ///
    /// # Errors
    /// Values that Docker refuses at the start of a container.
    pub fn read(driver: Driver, options: &Options) -> Result<Self, OptionError> {
        match driver {
            Driver::JsonFile => json_file(options),
            Driver::Local => local(options),
            _ => cache(options),
        }
    }
}

fn json_file(options: &Options) -> Result<FileLimits, OptionError> {
    let mut limits = JSON_FILE;
    if let Some(size) = options.get("max-size") {
        let fail = |text: String| OptionError::value("max-size", text);
        limits.max_size = match size.as_str() {
            // Ours: without bound, which is what Docker does without the option.
            "-1" => 0,
            size => match skiff_types::parse_size(size).map_err(|e| fail(e.to_string()))? {
                0 => return Err(fail("max-size must be a positive number".to_owned())),
                size => size.unsigned_abs(),
            },
        };
        limits.max_files = 1;
    }
    if let Some(files) = options.get("max-file") {
        let fail = |text: String| OptionError::value("max-file", text);
        limits.max_files = match skiff_go::parse_decimal(files).map_err(fail)? {
            ..1 => return Err(fail("max-file cannot be less than 1".to_owned())),
            files => u32::try_from(files).unwrap_or(u32::MAX),
        };
    }
    if let Some(compress) = options.get("compress") {
        let fail = |text: String| OptionError::value("compress", text);
        limits.compress = skiff_go::parse_bool(compress).map_err(fail)?;
        if limits.compress && (limits.max_files < 2 || limits.max_size == 0) {
            let text = "compress cannot be true when max-file is less than 2 or max-size is not set";
            return Err(fail(text.to_owned()));
        }
    }
    Ok(limits)
}

fn local(options: &Options) -> Result<FileLimits, OptionError> {
    let mut limits = LOCAL;
    if let Some(size) = options.get("max-size") {
        let fail = |e| OptionError::value("max-size", format!("invalid value for max-size: {size}: {e}"));
        limits.max_size = skiff_types::parse_size(size).map_err(fail)?.unsigned_abs();
    }
    let mut files = i64::from(limits.max_files);
    if let Some(text) = options.get("max-file") {
        let fail = |e| OptionError::value("max-file", format!("invalid value for max-file: {text}: {e}"));
        files = skiff_go::parse_decimal(text).map_err(fail)?;
    }
    if let Some(compress) = options.get("compress") {
        let fail = |e| OptionError::value("compress", format!("error reading compress log option: {e}"));
        limits.compress = skiff_go::parse_bool(compress).map_err(fail)?;
    }
    if files < 0 {
        return Err(OptionError::value("max-file", "max file count cannot be less than 0"));
    }
    if limits.compress && files < 2 {
        let text = "compression cannot be enabled when max file count is 1";
        return Err(OptionError::value("compress", text));
    }
    limits.max_files = u32::try_from(files).unwrap_or(u32::MAX).max(1);
    Ok(limits)
}

/// What is kept of a log that goes elsewhere: `cache-…`, which [`crate::check`] has seen.
fn cache(options: &Options) -> Result<FileLimits, OptionError> {
    let mut limits = LOCAL;
    if let Some(size) = options.get("cache-max-size") {
        let fail = |e: skiff_types::ParseSizeError| OptionError::value("cache-max-size", e.to_string());
        limits.max_size = skiff_types::parse_size(size).map_err(fail)?.unsigned_abs();
    }
    if let Some(files) = options.get("cache-max-file") {
        let fail = |e| OptionError::value("cache-max-file", e);
        let files = skiff_go::parse_decimal(files).map_err(fail)?;
        limits.max_files = u32::try_from(files).unwrap_or(u32::MAX).max(1);
    }
    if let Some(compress) = options.get("cache-compress").filter(|text| !text.is_empty()) {
        let fail = |e| OptionError::value("cache-compress", e);
        limits.compress = skiff_go::parse_bool(compress).map_err(fail)?;
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(driver: Driver, options: &[(&str, &str)]) -> Result<FileLimits, String> {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        FileLimits::read(driver, &options).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_not_said_has_bounds_all_the_same() {
        assert_eq!(read(Driver::JsonFile, &[]), Ok(JSON_FILE));
        assert_eq!(read(Driver::Local, &[]), Ok(LOCAL));
        assert_eq!(read(Driver::Syslog, &[("max-size", "1")]), Ok(LOCAL));
        let small = FileLimits { max_size: 1024, max_files: 3, compress: false };
        let options = [("cache-max-size", "1k"), ("cache-max-file", "3"), ("cache-compress", "0")];
        assert_eq!(read(Driver::Syslog, &options), Ok(small));
        let alone = FileLimits { max_size: 1024, max_files: 1, compress: false };
        assert_eq!(read(Driver::JsonFile, &[("max-size", "1k")]), Ok(alone));
    }

    #[test]
    fn wrong_values_are_refused_in_docker_s_words() {
        let atoi = r#"strconv.Atoi: parsing "x": invalid syntax"#;
        let compress = "compress cannot be true when max-file is less than 2 or max-size is not set";
        let one = "compression cannot be enabled when max file count is 1";
        for (driver, options, words) in [
            (Driver::JsonFile, &[("max-size", "x")][..], "invalid size: 'x'"),
            (Driver::JsonFile, &[("max-size", "")], "invalid size: ''"),
            (Driver::JsonFile, &[("max-size", "0")], "max-size must be a positive number"),
            (Driver::JsonFile, &[("max-file", "x")], atoi),
            (Driver::JsonFile, &[("max-file", "0")], "max-file cannot be less than 1"),
            (Driver::JsonFile, &[("compress", "x")], r#"strconv.ParseBool: parsing "x": invalid syntax"#),
            (Driver::JsonFile, &[("max-size", "1m"), ("compress", "true")], compress),
            (Driver::Local, &[("max-size", "x")], "invalid value for max-size: x: invalid size: 'x'"),
            (Driver::Local, &[("max-file", "x")], &format!("invalid value for max-file: x: {atoi}")),
            (Driver::Local, &[("max-file", "0")], one),
            (Driver::Local, &[("max-file", "1")], one),
            (Driver::Local, &[("max-file", "-1"), ("compress", "0")], "max file count cannot be less than 0"),
            (
                Driver::Local,
                &[("compress", "x")],
                r#"error reading compress log option: strconv.ParseBool: parsing "x": invalid syntax"#,
            ),
        ] {
            assert_eq!(read(driver, options), Err(words.to_owned()), "{options:?}");
        }
    }
}
