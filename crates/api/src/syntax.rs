//! Says what is wrong with a text that is not JSON, as Go's scanner does. Only run on texts already known to be wrong.

use crate::decode::DecodeError;

/// The first fault of `text`; `None` if Go would find none.
pub(crate) fn explain(text: &str) -> Option<DecodeError> {
    let mut scanner = Scanner { rest: text.chars() };
    scanner.skip_space();
    if scanner.rest.as_str().is_empty() {
        return Some(DecodeError::Empty);
    }
    let fault = match scanner.value(0) {
        Ok(()) => {
            scanner.skip_space();
            return (!scanner.rest.as_str().is_empty()).then_some(DecodeError::Trailing);
        }
        Err(fault) => fault,
    };
    Some(DecodeError::Syntax(match fault {
        Fault::End => "unexpected EOF".to_owned(),
        Fault::Char(c, context) => format!("invalid character {} {context}", quote(c)),
        Fault::Escape(c) => format!("invalid escape sequence `\\{c}` in string"),
        Fault::Deep => "exceeded max depth".to_owned(),
    }))
}

enum Fault {
    End,
    Char(char, String),
    Escape(char),
    Deep,
}

/// Deeper than any body of the API, and what serde_json allows.
const MAX_DEPTH: usize = 127;

struct Scanner<'a> {
    rest: std::str::Chars<'a>,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn next(&mut self) -> Result<char, Fault> {
        self.rest.next().ok_or(Fault::End)
    }

    fn skip_space(&mut self) {
        while let Some(' ' | '\t' | '\r' | '\n') = self.peek() {
            self.rest.next();
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Deep);
        }
        self.skip_space();
        match self.next()? {
            '{' => self.object(depth),
            '[' => self.array(depth),
            '"' => self.string(),
            't' => self.literal("true"),
            'f' => self.literal("false"),
            'n' => self.literal("null"),
            '-' => match self.next()? {
                c @ '0'..='9' => self.number(c),
                c => Err(Fault::Char(c, "in numeric literal".to_owned())),
            },
            c @ '0'..='9' => self.number(c),
            c => Err(Fault::Char(c, "looking for beginning of value".to_owned())),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Fault> {
        self.skip_space();
        if self.peek() == Some('}') {
            self.rest.next();
            return Ok(());
        }
        loop {
            self.skip_space();
            match self.next()? {
                '"' => self.string()?,
                c => return Err(Fault::Char(c, "looking for beginning of object key string".to_owned())),
            }
            self.skip_space();
            match self.next()? {
                ':' => self.value(depth + 1)?,
                c => return Err(Fault::Char(c, "after object key".to_owned())),
            }
            self.skip_space();
            match self.next()? {
                ',' => {}
                '}' => return Ok(()),
                c => return Err(Fault::Char(c, "after object key:value pair".to_owned())),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Fault> {
        self.skip_space();
        if self.peek() == Some(']') {
            self.rest.next();
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.skip_space();
            match self.next()? {
                ',' => {}
                ']' => return Ok(()),
                c => return Err(Fault::Char(c, "after array element".to_owned())),
            }
        }
    }

    fn string(&mut self) -> Result<(), Fault> {
        loop {
            match self.next()? {
                '"' => return Ok(()),
                '\\' => match self.next()? {
                    'u' => {
                        for _ in 0..4 {
                            let c = self.next()?;
                            if !c.is_ascii_hexdigit() {
                                return Err(Fault::Char(c, "in \\u hexadecimal character escape".to_owned()));
                            }
                        }
                    }
                    '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => {}
                    c => return Err(Fault::Escape(c)),
                },
                c if c < ' ' => return Err(Fault::Char(c, "in string literal".to_owned())),
                _ => {}
            }
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), Fault> {
        for expected in word.chars().skip(1) {
            let c = self.next()?;
            if c != expected {
                return Err(Fault::Char(c, format!("in literal {word} (expecting {})", quote(expected))));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: char) -> Result<(), Fault> {
        if first != '0' {
            self.digits();
        }
        if self.peek() == Some('.') {
            self.rest.next();
            self.some_digits("after decimal point in numeric literal")?;
        }
        if let Some('e' | 'E') = self.peek() {
            self.rest.next();
            if let Some('+' | '-') = self.peek() {
                self.rest.next();
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn some_digits(&mut self, context: &str) -> Result<(), Fault> {
        match self.next()? {
            '0'..='9' => self.digits(),
            c => return Err(Fault::Char(c, context.to_owned())),
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.rest.next();
        }
    }
}

/// A character as Go's error messages quote it.
fn quote(c: char) -> String {
    match c {
        '\'' => r"'\''".to_owned(),
        '"' => r#"'"'"#.to_owned(),
        '\n' => r"'\n'".to_owned(),
        '\r' => r"'\r'".to_owned(),
        '\t' => r"'\t'".to_owned(),
        c if c < ' ' => format!("'\\x{:02x}'", c as u32),
        c => format!("'{c}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Docker 28.5.2.
    #[test]
    fn faults_are_named_as_go_names_them() {
        for (text, message) in [
            ("{", "unexpected EOF"),
            (r#"{"a":tru}"#, "invalid character '}' in literal true (expecting 'e')"),
            (r#"{"Image":"x",}"#, "invalid character '}' looking for beginning of object key string"),
            ("{'a'}", r"invalid character '\'' looking for beginning of object key string"),
            (r#"{"Image" "x"}"#, r#"invalid character '"' after object key"#),
            (r#"{"Image":"x" "y"}"#, r#"invalid character '"' after object key:value pair"#),
            ("[1 2]", "invalid character '2' after array element"),
            (r#"{"Image":01}"#, "invalid character '1' after object key:value pair"),
            (r#"{"Image":"\x"}"#, r"invalid escape sequence `\x` in string"),
            ("{1:2}", "invalid character '1' looking for beginning of object key string"),
            ("x", "invalid character 'x' looking for beginning of value"),
        ] {
            assert_eq!(explain(text), Some(DecodeError::Syntax(message.to_owned())), "{text}");
        }
        assert_eq!(explain(" \n"), Some(DecodeError::Empty));
        assert_eq!(explain("{} x"), Some(DecodeError::Trailing));
        assert_eq!(explain("{}"), None);
    }
}
