//! `completions` and `man`: what shells and `man` read, made of the same declarations as `--help`.

use std::path::Path;

use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory};
use clap_complete::generate;

use super::args::{Arguments, Completions, Man, Shell};
use super::{Failure, print};
use crate::catalog::Catalog;

/// Name of the program.
const PROGRAM: &str = "llmperforacle";

/// Prints completions.
pub fn completions(command: &Completions) -> Result<(), Failure> {
    let shell = match command.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut with_names(Arguments::command()), PROGRAM, &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// The commands with the catalog's names where one is asked for.
fn with_names(mut command: Command) -> Command {
    let catalog = Catalog::builtin();
    let models: Vec<&str> = catalog.model_names().collect();
    let devices: Vec<&str> = catalog.device_names().collect();
    let named = [("model", &models), ("layers_model", &models), ("device", &devices)];
    for (id, names) in named {
        if command.get_arguments().any(|argument| argument.get_id() == id) {
            command = command.mut_arg(id, |argument| argument.value_parser(PossibleValuesParser::new(names.clone())));
        }
    }
    for (listing, names) in [("models", &models), ("devices", &devices)] {
        if command.get_name() == listing {
            command =
                command.mut_arg("filter", |argument| argument.value_parser(PossibleValuesParser::new(names.clone())));
        }
    }
    command.mut_subcommands(with_names)
}

/// The commands that have pages.
fn described() -> Command {
    Arguments::command().disable_help_subcommand(true)
}

/// Prints the manual page, or writes all of them.
pub fn man(command: &Man) -> Result<(), Failure> {
    match &command.folder {
        Some(folder) => write(folder),
        None => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(described()).render(&mut page);
            rendered.map_err(|error| Failure::Failed(format!("cannot make the page: {error}")))?;
            print(&String::from_utf8_lossy(&page))
        }
    }
}

fn write(folder: &Path) -> Result<(), Failure> {
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(described(), folder));
    written.map_err(|error| Failure::BadInput(Some(format!("cannot write to {}: {error}", folder.display()))))?;
    let folder = folder.display();
    print(&format!(
        "wrote the pages of {PROGRAM} and its commands to {folder}; read one with: man -l {folder}/{PROGRAM}.1\n"
    ))
}
