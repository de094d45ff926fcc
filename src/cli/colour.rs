//! Colour where it helps: the words that say how bad something is, and the verdict. Streams take it out again where nobody sees it.

use anstream::ColorChoice as Choice;
use anstyle::{AnsiColor, Style};
use clap::{ColorChoice, ValueEnum};

use super::args::Colour;
use crate::output::Verdict;

/// Words at the beginning of a line, or after the place in a file that the line is about.
const SEVERITIES: [(&str, AnsiColor); 2] = [("error", AnsiColor::Red), ("warning", AnsiColor::Yellow)];

/// Sets when to colour by what was typed, before that is read as a whole: what is wrong with it is coloured too.
pub fn choose(words: &[String]) -> ColorChoice {
    let mut typed = words.iter().enumerate().filter_map(|(index, word)| match word.strip_prefix("--color")? {
        "" => words.get(index + 1).cloned(),
        value => value.strip_prefix('=').map(str::to_owned),
    });
    let asked = typed.next_back().or_else(|| std::env::var("LLMPERFORACLE_COLOR").ok());
    match asked.and_then(|asked| Colour::from_str(&asked, false).ok()) {
        Some(Colour::Always) => {
            Choice::Always.write_global();
            ColorChoice::Always
        }
        Some(Colour::Never) => {
            Choice::Never.write_global();
            ColorChoice::Never
        }
        // What is no word for it, the parser refuses.
        Some(Colour::Auto) | None => ColorChoice::Auto,
    }
}

fn styled(text: &str, colour: AnsiColor) -> String {
    let style = Style::new().bold().fg_color(Some(colour.into()));
    format!("{style}{text}{style:#}")
}

/// A line with its first word for how bad it is in colour.
pub fn severity(line: &str) -> String {
    let first = SEVERITIES.into_iter().filter_map(|(word, colour)| {
        let mark = format!("{word}: ");
        let at = if line.starts_with(&mark) { 0 } else { line.find(&format!(": {mark}"))? + 2 };
        Some((at, word, colour))
    });
    match first.min_by_key(|(at, ..)| *at) {
        Some((at, word, colour)) => format!("{}{}{}", &line[..at], styled(word, colour), &line[at + word.len()..]),
        None => line.to_owned(),
    }
}

/// The text of a summary with its verdict in colour.
pub fn verdict(text: &str, verdict: &Verdict) -> String {
    let colour = match verdict.keeps_up {
        Some(true) => AnsiColor::Green,
        Some(false) => AnsiColor::Red,
        None => AnsiColor::Yellow,
    };
    let word = verdict.word();
    let line = text.find("\nVerdict ").and_then(|line| Some(line + text[line..].find(word)?));
    match line {
        Some(at) => format!("{}{}{}", &text[..at], styled(word, colour), &text[at + word.len()..]),
        None => text.to_owned(),
    }
}
