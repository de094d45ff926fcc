//! What all pages have: style, script, the charts' library, and the parts between which the reader jumps.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::{Map, Value};

use crate::output::REPORT_MARK;
use crate::report::figure::Figure;
use crate::report::plotly;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// No address is ever asked for anything: the browser sees to it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; \
                      base-uri 'none'; form-action 'none'";

/// A page in the making.
pub(super) struct Shell {
    title: String,
    charts: Map<String, Value>,
    sections: Vec<(&'static str, &'static str, Markup)>,
}

impl Shell {
    pub(super) fn new(title: String) -> Self {
        Self { title, charts: Map::new(), sections: Vec::new() }
    }

    /// A part of the page: its charts, and what stands below them. Without either it is left out.
    pub(super) fn add(&mut self, id: &'static str, title: &'static str, figures: &[Figure], text: Option<Markup>) {
        if figures.is_empty() && text.is_none() {
            return;
        }
        self.charts.extend(figures.iter().map(|figure| (figure.kind.clone(), plotly::chart(figure))));
        let section = html! {
            section id=(id) {
                h2 { (title) }
                div.charts {
                    @for figure in figures {
                        figure {
                            figcaption { h3 { (figure.title) } }
                            div.chart id=(format!("chart-{}", figure.kind)) {}
                            p.note { (figure.note) }
                        }
                    }
                }
                @if let Some(text) = text { (text) }
            }
        };
        self.sections.push((id, title, section));
    }

    /// The whole: what stands above the parts, and below.
    pub(super) fn html(self, header: &Markup, first: &Markup, footer: &Markup) -> String {
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    (PreEscaped(REPORT_MARK))
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    title { (self.title) " · LLMPerfOracle" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header { (header) }
                    nav { @for (id, title, _) in &self.sections { a href=(format!("#{id}")) { (title) } } }
                    main {
                        (first)
                        p.warning hidden id="no-charts" {}
                        noscript { p.warning { "Charts need JavaScript; the tables do not." } }
                        @for (.., section) in &self.sections { (section) }
                    }
                    footer {
                        (footer)
                        p.quiet { "Charts are drawn by plotly.js (MIT licence), which is in this file: it fetches nothing." }
                    }
                    (data("charts", &Value::Object(self.charts)))
                    script type="text/plain" id="plotly" { (PreEscaped(plotly::PACKED_SCRIPT)) }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        markup.into_string()
    }
}

/// JSON in the page. A script's text ends at the first `</script`, so nothing in it may look like one.
fn data(id: &str, value: &Value) -> Markup {
    let text = value.to_string().replace('<', "\\u003c");
    html! { script type="application/json" id=(id) { (PreEscaped(text)) } }
}

/// A table that scrolls by itself, so that the page does not.
pub(super) fn scrolling(rows: Markup) -> Markup {
    html! { div.scroll tabindex="0" { table { (rows) } } }
}

/// The head of a table.
pub(super) fn heads<'a>(names: impl IntoIterator<Item = &'a str>) -> Markup {
    html! { thead { tr { @for name in names { th scope="col" { (name) } } } } }
}
