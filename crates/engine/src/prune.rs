//! What the prune requests have in common: filters, and that only one of a kind goes on at a time.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    Error, Result,
    model::{Filters, Timestamp},
};

/// Which objects a prune may remove, as far as labels and age decide.
pub(crate) struct Selection {
    filters: Filters,
    until: Option<Timestamp>,
}

impl Selection {
    /// Reads the filters; `more` are accepted beside `label`, `label!` and `until`.
    ///
    /// # Errors
    /// Unknown filters, more than one moment, or what is none.
    pub(crate) fn read(filters: &Filters, more: &[&str]) -> Result<Self> {
        let accepted: Vec<&str> =
            ["label", "label!", "until"].into_iter().chain(more.iter().copied()).collect();
        filters.accept(&accepted)?;
        let mut moments = filters.values("until");
        let until = moments.next().map(|text| moment(text).ok_or_else(|| no_moment(text))).transpose()?;
        if moments.next().is_some() {
            return Err(Error::Invalid("more than one until filter specified".into()));
        }
        Ok(Self { filters: filters.clone(), until })
    }

    /// Whether an object made then, with these labels, may go.
    pub(crate) fn takes(&self, created: Timestamp, labels: &BTreeMap<String, String>) -> bool {
        self.until.is_none_or(|until| created <= until)
            && self.filters.labels("label", labels)
            && (!self.filters.has("label!") || !self.filters.labels("label!", labels))
    }
}

fn no_moment(text: &str) -> Error {
    Error::Invalid(format!("failed to parse value as time or duration: {text:?}"))
}

/// A moment (seconds since 1970, RFC 3339) or a duration back from now (`24h`).
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let seconds = |s: &str| s.parse::<i64>().ok().and_then(|s| Timestamp::from_second(s).ok());
    let back =
        |s: &str| s.parse::<jiff::SignedDuration>().ok().and_then(|d| Timestamp::now().checked_sub(d).ok());
    let civil = |s: &str| {
        let time = s.parse::<jiff::civil::DateTime>().ok()?;
        Some(time.to_zoned(jiff::tz::TimeZone::system()).ok()?.timestamp())
    };
    let fraction = |s: &str| {
        let (whole, part) = s.split_once('.')?;
        let nanos: i32 = format!("{part:0<9}").get(..9)?.parse().ok()?;
        Timestamp::new(whole.parse().ok()?, nanos).ok()
    };
    seconds(text)
        .or_else(|| fraction(text))
        .or_else(|| text.parse().ok())
        .or_else(|| back(text))
        .or_else(|| civil(text))
}

/// Lets one prune of a kind go on at a time.
#[derive(Debug, Default)]
pub(crate) struct Turn(AtomicBool);

/// Whoever has it may prune.
pub(crate) struct MyTurn<'a>(&'a Turn);

impl Turn {
    /// # Errors
    /// Somebody else prunes.
    pub(crate) fn take(&self) -> Result<MyTurn<'_>> {
        match self.0.swap(true, Ordering::AcqRel) {
            false => Ok(MyTurn(self)),
            true => Err(Error::Conflict("a prune operation is already running".into())),
        }
    }
}

impl Drop for MyTurn<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(pairs: &[(&str, &str)]) -> Filters {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn labels_and_age_choose() {
        let labels: BTreeMap<String, String> = [("tier".to_owned(), "front".to_owned())].into();
        let takes = |pairs: &[(&str, &str)]| {
            let selection = Selection::read(&filters(pairs), &[]).unwrap();
            selection.takes(Timestamp::from_second(1_000_000).unwrap(), &labels)
        };
        for good in [
            &[][..],
            &[("label", "tier=front")],
            &[("label!", "tier=back")],
            &[("until", "1000000")],
            &[("until", "1h")],
            &[("until", "2020-01-01T00:00:00Z"), ("label", "tier")],
        ] {
            assert!(takes(good), "{good:?}");
        }
        for bad in [&[("label", "x")][..], &[("label!", "tier")], &[("until", "999999")]] {
            assert!(!takes(bad), "{bad:?}");
        }
    }

    #[test]
    fn wrong_filters_are_refused_in_dockers_words() {
        let refused =
            |pairs: &[(&str, &str)]| Selection::read(&filters(pairs), &[]).err().unwrap().to_string();
        assert_eq!(refused(&[("foo", "x")]), "invalid filter 'foo'");
        assert_eq!(refused(&[("until", "abc")]), "failed to parse value as time or duration: \"abc\"");
        assert_eq!(refused(&[("until", "1h"), ("until", "2h")]), "more than one until filter specified");
    }

    #[test]
    fn one_at_a_time() {
        let turn = Turn::default();
        let mine = turn.take().unwrap();
        assert!(turn.take().is_err());
        drop(mine);
        assert!(turn.take().is_ok());
    }
}
