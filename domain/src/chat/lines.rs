//! Server-sent events cut into lines, whatever the chunks.

use super::fault::StreamFault;

/// Memory that is kept for the beginnings of lines once a longer one has passed.
const KEPT_BYTES: usize = 64 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What comes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'l> {
    /// A line, and how it ends: in LF, CR or both.
    Line(&'l [u8], &'l [u8]),
    /// The line feed behind the carriage return that ended the last line of the last chunk.
    LateFeed,
}

/// A line that says something. Names of events are not among them: the objects repeat them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line<'l> {
    /// The value of a `data` line, without the spaces around it.
    Data(&'l [u8]),
    /// A comment: the sender is alive.
    Comment,
}

impl<'l> Line<'l> {
    /// What a line says.
    pub(crate) fn read(line: &'l [u8]) -> Option<Self> {
        if line.first() == Some(&b':') {
            return Some(Self::Comment);
        }
        data_of(line).map(|data| Self::Data(data.trim_ascii_end()))
    }
}

/// The value of a `data` line, without the spaces before it; `None` for other lines.
pub(crate) fn data_of(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"data:").map(<[u8]>::trim_ascii_start)
}

/// Cuts a stream into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    max_line_bytes: usize,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    is_first: bool,
    /// The last chunk ended in a carriage return.
    is_behind_return: bool,
}

impl Lines {
    pub(crate) const fn new(max_line_bytes: usize) -> Self {
        Self { max_line_bytes, partial: Vec::new(), is_first: true, is_behind_return: false }
    }

    /// Hands every line that is complete now to `take`, until that fails.
    pub(crate) fn push(
        &mut self,
        chunk: &[u8],
        mut take: impl FnMut(Piece<'_>) -> Result<(), StreamFault>,
    ) -> Result<(), StreamFault> {
        let mut rest = chunk;
        if !rest.is_empty()
            && std::mem::take(&mut self.is_behind_return)
            && let Some(behind) = rest.strip_prefix(b"\n")
        {
            rest = behind;
            take(Piece::LateFeed)?;
        }
        while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
            let (line, terminated) = rest.split_at(at);
            let (end, behind) = terminated.split_at(if terminated.starts_with(b"\r\n") { 2 } else { 1 });
            self.is_behind_return = terminated == b"\r";
            rest = behind;
            self.check_length(line.len())?;
            if self.partial.is_empty() {
                take(Piece::Line(self.begin(line), end))?;
                continue;
            }
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(line);
            let result = take(Piece::Line(self.begin(&joined), end));
            joined.clear();
            joined.shrink_to(KEPT_BYTES);
            self.partial = joined;
            result?;
        }
        self.check_length(rest.len())?;
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// As [`Lines::push`], for who wants nothing but what is said.
    pub(crate) fn push_said(
        &mut self,
        chunk: &[u8],
        mut take: impl FnMut(Line<'_>) -> Result<(), StreamFault>,
    ) -> Result<(), StreamFault> {
        self.push(chunk, |piece| match piece {
            Piece::Line(line, _) => Line::read(line).map_or(Ok(()), &mut take),
            Piece::LateFeed => Ok(()),
        })
    }

    /// At the end of the stream: a last line that lacks its end; empty when there is none.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.partial);
        match rest.strip_prefix(BYTE_ORDER_MARK).filter(|_| self.is_first) {
            Some(line) => line.to_vec(),
            None => rest,
        }
    }

    /// The line without the mark that may stand at the very beginning.
    fn begin<'l>(&mut self, line: &'l [u8]) -> &'l [u8] {
        if !std::mem::replace(&mut self.is_first, false) {
            return line;
        }
        line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
    }

    fn check_length(&self, more_bytes: usize) -> Result<(), StreamFault> {
        if self.partial.len() + more_bytes > self.max_line_bytes { Err(StreamFault::LineTooLong) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream says, and its bytes put together again.
    fn cut(chunks: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
        let mut lines = Lines::new(64);
        let (mut said, mut bytes) = (Vec::new(), Vec::new());
        let mut say = |line: &[u8]| match Line::read(line) {
            Some(Line::Data(data)) => said.push(String::from_utf8_lossy(data).into_owned()),
            Some(Line::Comment) => said.push(":".to_owned()),
            None => {}
        };
        for chunk in chunks {
            let take = |piece: Piece<'_>| {
                match piece {
                    Piece::Line(line, end) => {
                        say(line);
                        bytes.extend([line, end].concat());
                    }
                    Piece::LateFeed => bytes.push(b'\n'),
                }
                Ok(())
            };
            lines.push(chunk, take).unwrap();
        }
        let rest = lines.take_rest();
        say(&rest);
        bytes.extend(rest);
        (said, bytes)
    }

    #[test]
    fn every_line_end_is_one_and_is_kept() {
        let text = "\u{feff}data: a\nevent: x\ndata:b \n\n: hi\n\ndata: c";
        for end in ["\n", "\r\n", "\r"] {
            let text = text.replace('\n', end);
            let expected = (["a", "b", ":", "c"].map(str::to_owned).to_vec(), text.as_bytes()[3..].to_vec());
            assert_eq!(cut(&[text.as_bytes()]), expected);
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(cut(&bytes), expected, "{end:?}");
        }
    }

    #[test]
    fn a_mark_is_one_only_at_the_very_beginning() {
        assert_eq!(cut(&["\u{feff}data: a".as_bytes()]).0, ["a"], "though its line never ends");
        assert_eq!(cut(&["data: a\n\u{feff}data: b\n".as_bytes()]).0, ["a"]);
    }

    #[test]
    fn a_line_is_not_waited_for_without_bound() {
        let mut lines = Lines::new(8);
        let mut take = |_: Piece<'_>| Ok(());
        assert_eq!(lines.push(b"data: 12", &mut take), Ok(()));
        assert_eq!(lines.push(b"3", &mut take), Err(StreamFault::LineTooLong));
        assert_eq!(Lines::new(8).push(b"data: 123\n", &mut take), Err(StreamFault::LineTooLong));
        assert!(lines.partial.len() <= 8);
    }
}
