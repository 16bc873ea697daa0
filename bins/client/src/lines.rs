//! Lines from standard input, bounded, for prompts and consoles.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Maximum length of a line, in bytes. No command or title is as long.
pub const LINE_BYTES_MAX: usize = 4096;

/// A line, cut at [`LINE_BYTES_MAX`]; `None` at the end of the input.
///
/// # Errors
///
/// Where the input can't be read.
pub async fn read_line(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut has_read = false;
    loop {
        let chunk = input.fill_buf().await?;
        if chunk.is_empty() {
            break;
        }
        has_read = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let text = &chunk[..end.unwrap_or(chunk.len())];
        line.extend_from_slice(&text[..text.len().min(LINE_BYTES_MAX - line.len())]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            break;
        }
    }
    Ok(has_read.then(|| String::from_utf8_lossy(&line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    #[tokio::test]
    async fn lines_are_bounded_and_the_last_one_needs_no_end() {
        let text = format!("kill r2\r\n{}\n\nstatus", "x".repeat(3 * LINE_BYTES_MAX));
        let mut input = BufReader::with_capacity(100, text.as_bytes());
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut input).await.unwrap() {
            lines.push(line);
        }
        assert_eq!(lines[0], "kill r2\r");
        assert_eq!(lines[1].len(), LINE_BYTES_MAX);
        assert_eq!(lines[2..], ["", "status"]);
    }
}
