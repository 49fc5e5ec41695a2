//! The order in which people count: `web2` before `web10`.

use std::cmp::Ordering;

/// Compares texts, runs of digits by their value.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (digits_a, digits_b) = (leading_digits(a), leading_digits(b));
        if digits_a > 0 && digits_b > 0 {
            let (x, y) = (a[..digits_a].trim_start_matches('0'), b[..digits_b].trim_start_matches('0'));
            let order = x.len().cmp(&y.len()).then(x.cmp(y)).then(digits_a.cmp(&digits_b));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[digits_a..], &b[digits_b..]);
            continue;
        }
        match (a.chars().next(), b.chars().next()) {
            (Some(x), Some(y)) if x == y => (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]),
            (x, y) => return x.cmp(&y),
        }
    }
}

fn leading_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn numbers_count() {
        let mut names = ["web10", "web2", "a", "web", "10/tcp", "9/tcp"];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(names, ["9/tcp", "10/tcp", "a", "web", "web2", "web10"]);
    }
}
