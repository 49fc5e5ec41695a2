//! Lists as tables, JSON lines or by a template: what `--format` does for `ps`, `images` and their kin.

use std::rc::Rc;

use crate::{
    failure::Failure,
    format::table,
    say,
    template::{self, Functions, MissingKey, Struct, Value},
};

/// A kind of list.
pub(crate) struct Listing {
    /// Go's type of a row, as errors name it.
    pub(crate) row_type: &'static str,
    /// The name of each column and its header.
    pub(crate) headers: &'static [(&'static str, &'static str)],
}

impl Listing {
    /// A row out of its fields.
    pub(crate) fn row(&self, fields: Vec<(&'static str, Value)>) -> Value {
        self.made(fields, None)
    }

    /// The same where JSON has another value for one of them.
    pub(crate) fn row_but(
        &self,
        fields: Vec<(&'static str, Value)>,
        in_json: (&'static str, Value),
    ) -> Value {
        self.made(fields, Some(in_json))
    }

    fn made(&self, fields: Vec<(&'static str, Value)>, in_json: Option<(&'static str, Value)>) -> Value {
        let mut sorted: Vec<_> = fields.iter().filter(|(_, v)| !matches!(v, Value::Lookup(_))).collect();
        sorted.sort_by_key(|(name, _)| *name);
        let shown = |(name, value): &'_ (&'static str, Value)| match &in_json {
            Some((other, instead)) if name == other => instead.to_json(),
            _ => value.to_json(),
        };
        let source = template::Json::Object(
            sorted.into_iter().map(|field| (field.0.to_owned(), shown(field))).collect(),
        );
        Value::Struct(Rc::new(Struct {
            type_name: self.row_type,
            pointer: true,
            is_row: true,
            fields,
            source: Some(source),
        }))
    }

    /// Prints `rows` by `format`: `table …`, `json` or a template.
    pub(crate) fn print(&self, format: &str, rows: &[Value]) -> Result<(), Failure> {
        say::print(self.render(format, rows)?.as_bytes());
        Ok(())
    }

    /// What [`Listing::print`] prints.
    pub(crate) fn render(&self, format: &str, rows: &[Value]) -> Result<String, Failure> {
        let wrong = |e: String| Failure::new(format!("template parsing error: {e}"));
        let is_table = format.starts_with("table");
        let text = match format.strip_prefix("table") {
            Some(rest) => rest,
            None if format == "json" => "{{json .}}",
            None => format,
        };
        let text = text.trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
        let template = template::parse(&text, Functions::Values).map_err(wrong)?;
        let mut body = String::new();
        for row in rows {
            let line = template::execute(&template, row, Functions::Values, MissingKey::NoValue);
            body.push_str(&line.map_err(wrong)?);
            body.push('\n');
        }
        if is_table {
            let mut headers: Vec<(String, Value)> = self
                .headers
                .iter()
                .map(|(name, header)| ((*name).to_owned(), Value::text(*header)))
                .collect();
            headers.push(("Label".to_owned(), Value::LabelHeader));
            let header = Value::map(headers);
            // A header that cannot be made is left out, as docker leaves it out.
            let line = template::execute(&template, &header, Functions::Headers, MissingKey::NoValue);
            let text = line.unwrap_or_default() + "\n" + &body;
            return Ok(table::align(&text, table::LISTS));
        }
        Ok(body)
    }

    /// Whether a template can be run on a row at all, and which of its fields it uses.
    pub(crate) fn check(&self, format: &str, row: &Value) -> Result<(), Failure> {
        let template = template::parse(format, Functions::Values)
            .map_err(|e| Failure::new(format!("failed to parse template: {e}")))?;
        template::execute(&template, row, Functions::Values, MissingKey::NoValue)
            .map_err(|e| Failure::new(format!("failed to execute template: {e}")))?;
        Ok(())
    }
}

/// The first twelve digits of an id.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

/// `text`, cut to so many columns with an ellipsis.
pub(crate) fn ellipsis(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(columns - 1).collect();
    cut.push('…');
    cut
}

/// Labels as `a=1,b=2`, in order.
pub(crate) fn labels(labels: &[(String, String)]) -> Value {
    let mut pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort();
    Value::text(pairs.join(","))
}
