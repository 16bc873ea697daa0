//! The page as one document, from the files in `page/`. Its policy permits exactly its own script and style.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const DOCUMENT: &str = include_str!("../page/index.html");
const STYLE: &str = include_str!("../page/style.css");
/// The scripts, in the order in which they build on each other.
const SCRIPTS: [&str; 9] = [
    include_str!("../page/base.js"),
    include_str!("../page/state.js"),
    include_str!("../page/topology.js"),
    include_str!("../page/diagram.js"),
    include_str!("../page/export.js"),
    include_str!("../page/tables.js"),
    include_str!("../page/charts.js"),
    include_str!("../page/control.js"),
    include_str!("../page/main.js"),
];

/// Places of style, scripts and token in the document.
const STYLE_PLACE: &str = "/*STYLE*/";
const SCRIPT_PLACE: &str = "/*SCRIPT*/";
const TOKEN_PLACE: &str = "TOKEN";

/// The page and its policy.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) html: String,
    pub(crate) policy: String,
}

impl Page {
    /// The page. `token` is what its requests to change something must carry; empty where it may change nothing.
    pub(crate) fn new(token: &str) -> Self {
        let script = format!("\"use strict\";\n{}", SCRIPTS.concat());
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            hash(&script),
            hash(STYLE)
        );
        let html = DOCUMENT.replace(TOKEN_PLACE, token).replace(STYLE_PLACE, STYLE).replace(SCRIPT_PLACE, &script);
        Self { html, policy }
    }
}

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_permits_no_inline_code_but_the_pages_own() {
        let page = Page::new("t");
        assert!(!page.policy.contains("unsafe"), "{}", page.policy);
        assert!(page.policy.contains("script-src 'sha256-") && page.policy.contains("default-src 'none'"));
        for place in [STYLE_PLACE, SCRIPT_PLACE] {
            assert!(!page.html.contains(place), "{place}");
        }
    }

    #[test]
    fn page_has_no_outside_resource_and_inserts_no_text_as_html() {
        let html = Page::new("").html;
        let addresses = html.replace("http://www.w3.org/2000/svg", "");
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!addresses.contains(outside), "{outside}");
        }
        for insertion in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!html.contains(insertion), "{insertion}");
        }
    }
}
