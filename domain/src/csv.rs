//! CSV as RFC 4180 writes it, safe to open in a spreadsheet.

/// A cell that begins with one of these is a formula to a spreadsheet.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Appends one record and its line end. A text that a spreadsheet would take for a formula gets a `'` in front, which
/// makes it text; numbers that may be negative do not belong in here.
pub fn push_record<'c>(cells: impl IntoIterator<Item = &'c str>, out: &mut String) {
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_cell(cell, out);
    }
    out.push_str("\r\n");
}

fn push_cell(cell: &str, out: &mut String) {
    // Spreadsheets skip spaces before they look.
    let is_formula = cell.trim_start_matches(' ').starts_with(FORMULA_STARTS);
    let is_quoted = cell.contains([',', '"', '\r', '\n', '\t']);
    if is_quoted {
        out.push('"');
    }
    if is_formula {
        out.push('\'');
    }
    for letter in cell.chars() {
        if letter == '"' {
            out.push('"');
        }
        out.push(letter);
    }
    if is_quoted {
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(cells: &[&str]) -> String {
        let mut out = String::new();
        push_record(cells.iter().copied(), &mut out);
        out
    }

    #[test]
    fn plain_cells_stay_plain() {
        assert_eq!(record(&["1", "credit", "", "grüße"]), "1,credit,,grüße\r\n");
    }

    #[test]
    fn what_would_end_a_cell_is_quoted() {
        assert_eq!(record(&["a,b", "say \"no\"", "two\nlines"]), "\"a,b\",\"say \"\"no\"\"\",\"two\nlines\"\r\n");
    }

    #[test]
    fn no_cell_is_a_formula() {
        for cell in ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "\t=1", "\r=1"] {
            let written = record(&[cell]);
            assert!(written.trim_start_matches('"').starts_with('\''), "{written:?}");
        }
        assert_eq!(record(&["=HYPERLINK(\"x\",\"y\")"]), "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\"\r\n");
        assert_eq!(record(&["a=b"]), "a=b\r\n");
    }
}
