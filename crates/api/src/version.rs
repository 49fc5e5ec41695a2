//! API versions (`major.minor`) and which of them are served.

use std::{fmt, str::FromStr};

/// A version of the API, as in the path prefix `/v1.51`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    major: u32,
    minor: u32,
}

/// Not two decimal numbers with a dot between them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("API version must be provided in <major.minor> format: {0:?}")]
pub struct ParseVersionError(pub String);

impl ApiVersion {
    /// The oldest version that is served.
    pub const MIN: Self = Self::new(1, 24);
    /// The newest version, and the one meant when a path has no prefix.
    pub const MAX: Self = Self::new(1, 51);

    /// Version `major.minor`.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Version 1.`minor`, or a later one: differences between versions are asked for by this.
    pub fn at_least(self, minor: u32) -> bool {
        self >= Self::new(1, minor)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = ParseVersionError;
    fn from_str(s: &str) -> Result<Self, ParseVersionError> {
        let bad = || ParseVersionError(s.to_owned());
        let number = |s: &str| match s.bytes().all(|c| c.is_ascii_digit()) {
            true => s.parse().map_err(|_| bad()),
            false => Err(bad()),
        };
        let (major, minor) = s.split_once('.').ok_or_else(bad)?;
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let v = |s: &str| s.parse::<ApiVersion>().unwrap();
        assert!(v("1.9") < v("1.24") && v("1.51") < v("2.0"));
        assert!(v("1.44").at_least(44) && !v("1.43").at_least(44));
        assert_eq!(v("1.51"), ApiVersion::MAX);
        assert_eq!(ApiVersion::MIN.to_string(), "1.24");
    }

    #[test]
    fn what_is_not_two_numbers_is_refused() {
        for bad in ["", "1", "1.", ".1", "1.2.3", "v1.2", "1.-2", "+1.2", "1. 2", "1.99999999999"] {
            assert!(bad.parse::<ApiVersion>().is_err(), "{bad}");
        }
    }
}
