//! Checks that no source file has outgrown its purpose.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::root;

/// Lines of code a file may have, its tests, comments and blank lines not counted.
const LIMIT: usize = 600;

/// Files that are tables: their length is data.
const TABLES: &[&str] = &[];

/// Fails with every file above the limit.
pub(crate) fn check() -> Result<()> {
    let mut files = Vec::new();
    for top in ["crates", "xtask", "tests", "bench"] {
        collect(&root().join(top), &mut files)?;
    }
    let mut wrong = Vec::new();
    for file in files {
        let name = file.strip_prefix(root()).unwrap_or(&file).display().to_string();
        let lines = code_lines(&fs_err::read_to_string(&file)?);
        if lines > LIMIT && !TABLES.contains(&name.as_str()) {
            wrong.push(format!("{name}: {lines} lines of code, the limit is {LIMIT}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in fs_err::read_dir(dir)? {
        let path = entry?.path();
        let test = path.file_name().is_some_and(|n| n == "tests" || n == "tests.rs" || n == "target");
        if path.is_dir() && !test {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") && !test {
            files.push(path);
        }
    }
    Ok(())
}

/// Lines before the tests that are neither blank nor comment.
fn code_lines(text: &str) -> usize {
    text.lines()
        .map(str::trim)
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blank_lines_and_tests_are_not_code() {
        assert_eq!(code_lines("//! doc\n\nfn a() {}\n// why\n#[cfg(test)]\nmod tests {}\n"), 1);
    }
}
