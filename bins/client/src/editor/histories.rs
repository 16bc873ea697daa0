//! Histories of lines, one for each kind of question, in files of the state directory.

use std::collections::HashMap;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};

use rustyline::Config;
use rustyline::history::{FileHistory, History};

/// Maximum size of a history file, in bytes. A larger one is none of ours, and is left alone.
const FILE_BYTES_MAX: u64 = 1 << 22;

/// The histories by name. The one in use is in the editor.
pub(super) struct Histories {
    folder: Option<PathBuf>,
    config: Config,
    others: HashMap<&'static str, FileHistory>,
    current: Option<&'static str>,
}

impl Histories {
    /// Histories in this folder, or in memory only.
    pub(super) fn new(folder: Option<&Path>, config: &Config) -> Self {
        Self { folder: folder.map(Path::to_owned), config: config.clone(), others: HashMap::new(), current: None }
    }

    /// Puts the history of this name in the place of the one in `current`.
    pub(super) fn choose(&mut self, name: Option<&'static str>, current: &mut FileHistory) {
        if self.current == name {
            return;
        }
        let wanted = name.and_then(|name| self.others.remove(name)).unwrap_or_else(|| self.load(name));
        let before = mem::replace(current, wanted);
        if let Some(name) = self.current {
            self.others.insert(name, before);
        }
        self.current = name;
    }

    /// Adds a line to the history of this name. Where the file can't be written, the history lasts as long as the program.
    pub(super) fn keep(&self, name: Option<&'static str>, line: &str, current: &mut FileHistory) {
        if name.is_none() || line.trim().is_empty() || line.contains(char::is_control) {
            return;
        }
        let is_new = current.add(line).unwrap_or_default();
        if let (Some(path), true) = (self.path(name), is_new)
            && path.parent().is_some_and(|folder| fs::create_dir_all(folder).is_ok())
            && is_ours(&path)
        {
            let _ = current.append(&path);
        }
    }

    fn load(&self, name: Option<&'static str>) -> FileHistory {
        let mut history = FileHistory::with_config(&self.config);
        if let Some(path) = self.path(name)
            && is_ours(&path)
        {
            // A file that can't be read is an empty history.
            let _ = history.load(&path);
        }
        history
    }

    fn path(&self, name: Option<&str>) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{}.txt", name?)))
    }
}

/// Whether a history can be in this place: a file of a fitting size, or none yet. Another thing, such as a FIFO, would block.
fn is_ours(path: &Path) -> bool {
    fs::metadata(path).map_or_else(
        |error| error.kind() == std::io::ErrorKind::NotFound,
        |data| data.is_file() && data.len() <= FILE_BYTES_MAX,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(history: &FileHistory) -> Vec<String> {
        history.into_iter().cloned().collect()
    }

    #[test]
    fn histories_are_apart_and_are_there_in_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("history");
        let config = Config::default();
        let mut current = FileHistory::with_config(&config);
        let mut histories = Histories::new(Some(&folder), &config);
        for (name, line) in
            [("choices", "create"), ("movies", "Toy Story (1995)"), ("choices", "read"), ("choices", " ")]
        {
            histories.choose(Some(name), &mut current);
            histories.keep(Some(name), line, &mut current);
        }
        assert_eq!(lines(&current), ["create", "read"]);
        histories.choose(None, &mut current);
        histories.keep(None, "q", &mut current);
        assert_eq!(lines(&current), [] as [&str; 0]);

        let mut next = Histories::new(Some(&folder), &config);
        next.choose(Some("choices"), &mut current);
        assert_eq!(lines(&current), ["create", "read"]);
        next.choose(Some("movies"), &mut current);
        assert_eq!(lines(&current), ["Toy Story (1995)"]);
    }

    #[test]
    fn history_that_cannot_be_written_lasts_as_long_as_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        fs::create_dir(folder.path().join("choices.txt")).unwrap();
        for folder in [file.as_path(), folder.path()] {
            let config = Config::default();
            let mut current = FileHistory::with_config(&config);
            let mut histories = Histories::new(Some(folder), &config);
            histories.choose(Some("choices"), &mut current);
            histories.keep(Some("choices"), "create", &mut current);
            histories.choose(Some("movies"), &mut current);
            histories.choose(Some("choices"), &mut current);
            assert_eq!(lines(&current), ["create"]);
        }
    }
}
