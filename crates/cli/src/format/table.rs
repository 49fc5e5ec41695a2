//! Columns, padded as Go's text/tabwriter pads them.
//!
//! A column is a run of lines that have a cell there, ended by a tab; a line without one ends the column's block, so
//! that widths above and below differ. The last cell of a line belongs to no column.

/// Widths of columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The least width, padding included.
    pub(crate) minimum: usize,
    /// Blanks after the widest cell.
    pub(crate) padding: usize,
}

/// As `docker ps` and most others.
pub(crate) const LISTS: Layout = Layout { minimum: 10, padding: 3 };
/// As `docker top`.
pub(crate) const PROCESSES: Layout = Layout { minimum: 20, padding: 3 };

/// Lays out lines whose cells are separated by tabs.
pub(crate) fn align(text: &str, layout: Layout) -> String {
    let ends_with_newline = text.ends_with('\n');
    let body = text.strip_suffix('\n').unwrap_or(text);
    let lines: Vec<Vec<&str>> = body.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut out = String::with_capacity(text.len() * 2);
    format_block(&lines, &mut Vec::new(), layout, &mut out);
    if !ends_with_newline {
        out.pop();
    }
    out
}

/// Writes `lines`, whose first columns have the `widths` known so far.
fn format_block(lines: &[Vec<&str>], widths: &mut Vec<usize>, layout: Layout, out: &mut String) {
    let column = widths.len();
    let mut at = 0;
    while at < lines.len() {
        let in_column = |line: &Vec<&str>| column + 1 < line.len();
        let length = lines[at..].iter().take_while(|line| in_column(line)).count();
        if length == 0 {
            write_line(&lines[at], widths, out);
            at += 1;
            continue;
        }
        let block = &lines[at..at + length];
        let widest = block.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let width = (widest + layout.padding).max(layout.minimum);
        widths.push(width);
        format_block(block, widths, layout, out);
        widths.pop();
        at += length;
    }
}

fn write_line(cells: &[&str], widths: &[usize], out: &mut String) {
    for (cell, width) in cells.iter().zip(widths) {
        out.push_str(cell);
        out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
    }
    for cell in &cells[widths.len().min(cells.len())..] {
        out.push_str(cell);
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = "A\tBBBBBBBBBBBBBB\tC\n1\t2\t3\n";
        assert_eq!(align(text, LISTS), "A         BBBBBBBBBBBBBB   C\n1         2                3\n");
    }

    #[test]
    fn a_line_without_a_cell_ends_the_block() {
        let text = "aaaaaaaaaaaa\tb\nalone\nc\td\n";
        assert_eq!(align(text, LISTS), "aaaaaaaaaaaa   b\nalone\nc         d\n");
    }
}
