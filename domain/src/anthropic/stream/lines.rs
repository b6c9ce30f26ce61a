//! Server-sent events cut into lines, whatever the chunks.

use crate::chat::stream::{StreamFault, data_of};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line that says something. Names of events are not among them: the objects repeat them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'l> {
    /// The value of a `data` line, without the spaces around it.
    Data(&'l [u8]),
    /// A comment: the sender is alive.
    Comment,
}

/// Cuts a stream into lines that end in LF, CR or both.
#[derive(Debug)]
pub(super) struct Lines {
    max_line_bytes: usize,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    is_first: bool,
    /// The last chunk ended in a carriage return: a line feed at once behind it ends nothing.
    is_behind_return: bool,
}

impl Lines {
    pub(super) const fn new(max_line_bytes: usize) -> Self {
        Self { max_line_bytes, partial: Vec::new(), is_first: true, is_behind_return: false }
    }

    /// Hands every line that is complete now to `take`, until that fails.
    pub(super) fn push(
        &mut self,
        chunk: &[u8],
        mut take: impl FnMut(Line<'_>) -> Result<(), StreamFault>,
    ) -> Result<(), StreamFault> {
        let mut rest = chunk;
        if std::mem::take(&mut self.is_behind_return) && !rest.is_empty() {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        } else if rest.is_empty() {
            return Ok(());
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            let (line, terminated) = rest.split_at(end);
            self.check_length(line.len())?;
            if self.partial.is_empty() {
                self.take_line(line, &mut take)?;
            } else {
                let mut joined = std::mem::take(&mut self.partial);
                joined.extend_from_slice(line);
                let result = self.take_line(&joined, &mut take);
                joined.clear();
                self.partial = joined;
                result?;
            }
            let terminator_len = if terminated.starts_with(b"\r\n") { 2 } else { 1 };
            self.is_behind_return = terminated == b"\r";
            rest = terminated.get(terminator_len..).unwrap_or_default();
        }
        self.check_length(rest.len())?;
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// At the end of the stream: a last object that lacks only its line end still counts.
    pub(super) fn finish(
        &mut self,
        mut take: impl FnMut(Line<'_>) -> Result<(), StreamFault>,
    ) -> Result<(), StreamFault> {
        let line = std::mem::take(&mut self.partial);
        self.take_line(&line, &mut take)
    }

    fn check_length(&self, more_bytes: usize) -> Result<(), StreamFault> {
        if self.partial.len() + more_bytes > self.max_line_bytes { Err(StreamFault::LineTooLong) } else { Ok(()) }
    }

    fn take_line(
        &mut self,
        line: &[u8],
        take: &mut impl FnMut(Line<'_>) -> Result<(), StreamFault>,
    ) -> Result<(), StreamFault> {
        let mut line = line;
        if std::mem::replace(&mut self.is_first, false) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.first() == Some(&b':') {
            return take(Line::Comment);
        }
        data_of(line).map_or(Ok(()), |data| take(Line::Data(data.trim_ascii_end())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::new(64);
        let mut seen = Vec::new();
        let mut take = |line: Line<'_>| {
            seen.push(match line {
                Line::Data(data) => String::from_utf8_lossy(data).into_owned(),
                Line::Comment => ":".to_owned(),
            });
            Ok(())
        };
        for chunk in chunks {
            lines.push(chunk, &mut take).unwrap();
        }
        lines.finish(&mut take).unwrap();
        seen
    }

    #[test]
    fn every_line_end_is_one() {
        let text = "\u{feff}data: a\nevent: x\ndata:b \n\n: hi\n\ndata: c";
        for end in ["\n", "\r\n", "\r"] {
            let text = text.replace('\n', end);
            let expected = ["a", "b", ":", "c"];
            assert_eq!(cut(&[text.as_bytes()]), expected);
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(cut(&bytes), expected);
        }
    }

    #[test]
    fn a_line_is_not_waited_for_without_bound() {
        let mut lines = Lines::new(8);
        let mut take = |_: Line<'_>| Ok(());
        assert_eq!(lines.push(b"data: 12", &mut take), Ok(()));
        assert_eq!(lines.push(b"3", &mut take), Err(StreamFault::LineTooLong));
        assert_eq!(Lines::new(8).push(b"data: 123\n", &mut take), Err(StreamFault::LineTooLong));
        assert!(lines.partial.len() <= 8);
    }
}
