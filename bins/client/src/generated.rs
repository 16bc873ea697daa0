//! Completions and man pages, made from the definitions of the command line.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::commands::ClientArgs;
use crate::failure::Failure;
use crate::json;

/// The completions for a shell.
pub(crate) fn completions(shell: Shell, json: bool) -> Result<String, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut ClientArgs::command(), "client", &mut script);
    text(&script, json)
}

/// The man page of the program; with a folder, those of all commands are written there.
pub(crate) fn man(folder: Option<&Path>, json: bool) -> Result<String, Failure> {
    let command = ClientArgs::command();
    match folder {
        None => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(command).render(&mut page);
            rendered.map_err(|error| Failure::file(format!("the man page can't be made: {error}")))?;
            text(&page, json)
        }
        Some(folder) => {
            let failed =
                |error| Failure::file(format!("{}: man pages can't be written there: {error}", folder.display()));
            std::fs::create_dir_all(folder).map_err(failed)?;
            clap_mangen::generate_to(command, folder).map_err(failed)?;
            if json { json::line(serde_json::json!({"folder": folder})) } else { Ok(String::new()) }
        }
    }
}

/// A text to print, with `json` as the value of a line.
pub(crate) fn text(text: &[u8], json: bool) -> Result<String, Failure> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_end();
    if json { json::line(serde_json::json!({"text": text})) } else { Ok(text.to_owned()) }
}
