use std::fmt::Write as _;

use super::{RULES, Rule};

/// Examples are broken into lines that are as long at most, where that is possible.
const MAX_LINE: usize = 110;

/// The page `docs/rules.md`.
#[must_use]
pub fn rules_page() -> String {
    let mut page = String::from(
        "# Rules\n\n\
         An error refuses the write of a flow; a warning rides in `meta.warnings` of the answer to it.\n\
         Levels that are adjustable are set by `RULE_LEVELS`, such as `graph.cycle=error,edge.self=off`.\n\n\
         <!-- This page is made of shared/src/flow/rules.rs: UPDATE_DOCS=1 cargo test -p shared rules -->\n\n\
         | reason | level | adjustable |\n|---|---|---|\n",
    );
    for rule in RULES {
        let adjustable = rule.setting().map_or_else(|| "no".into(), |setting| format!("by `{setting}`"));
        let Rule { reason, level, .. } = rule;
        let anchor = reason.replace('.', "").to_lowercase();
        let _ = writeln!(page, "| [`{reason}`](#{anchor}) | {level} | {adjustable} |");
    }
    for rule in RULES {
        let fix = rule.fix.map(|fix| format!(" {fix}")).unwrap_or_default();
        let Rule { reason, summary, example, .. } = rule;
        let _ = write!(page, "\n## `{reason}`\n{summary}{fix}\n\n```json\n{}\n```\n", pretty(example));
    }
    page
}

/// JSON in lines. What fits into one stays in one, and members stay in their order.
fn pretty(json: &str) -> String {
    let mut text = String::new();
    // Whether the lists and objects that are open are broken into lines.
    let mut broken = Vec::new();
    let mut is_text = false;
    let mut is_escaped = false;
    for (place, c) in json.char_indices() {
        let is_broken = broken.last() == Some(&true);
        match c {
            _ if is_text => {
                is_text = is_escaped || c != '"';
                is_escaped = c == '\\' && !is_escaped;
                text.push(c);
            }
            '"' => {
                is_text = true;
                text.push(c);
            }
            '{' | '[' => {
                let rest = json.get(place..).unwrap_or_default();
                broken.push(spaced_length(rest) + 2 * broken.len() > MAX_LINE);
                text.push(c);
                start_line(&mut text, &broken);
            }
            '}' | ']' => {
                broken.pop();
                if is_broken {
                    text.push('\n');
                    text.push_str(&"  ".repeat(broken.len()));
                }
                text.push(c);
            }
            ',' if is_broken => {
                text.push(c);
                start_line(&mut text, &broken);
            }
            ',' | ':' => {
                text.push(c);
                text.push(' ');
            }
            _ => text.push(c),
        }
    }
    text
}

fn start_line(text: &mut String, broken: &[bool]) {
    if broken.last() == Some(&true) {
        text.push('\n');
        text.push_str(&"  ".repeat(broken.len()));
    }
}

/// How long the list or object at the beginning is in one line.
fn spaced_length(json: &str) -> usize {
    let mut depth = 0_usize;
    let mut length = 0;
    let mut is_text = false;
    let mut is_escaped = false;
    for c in json.chars() {
        length += 1;
        match c {
            _ if is_text => {
                is_text = is_escaped || c != '"';
                is_escaped = c == '\\' && !is_escaped;
            }
            '"' => is_text = true,
            '{' | '[' => depth += 1,
            ',' | ':' => length += 1,
            '}' | ']' if depth <= 1 => return length,
            '}' | ']' => depth -= 1,
            _ => {}
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_page_is_made_of_the_rules() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rules.md");
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::write(path, rules_page()).unwrap();
        }
        let page = fs::read_to_string(path).unwrap_or_default();
        assert!(page == rules_page(), "docs/rules.md is old: UPDATE_DOCS=1 cargo test -p shared rules");
    }

    #[test]
    fn examples_are_broken_into_lines_and_stay_what_they_are() {
        for rule in RULES {
            let shown = pretty(rule.example);
            let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(value(&shown), value(rule.example), "{}", rule.reason);
        }
        assert_eq!(pretty(r#"{"a":[1,"x\"{,:",{}],"b":null}"#), r#"{"a": [1, "x\"{,:", {}], "b": null}"#);
        let long = format!(r#"{{"a":["{0}","{0}"],"b":[]}}"#, "x".repeat(60));
        assert_eq!(
            pretty(&long),
            format!("{{\n  \"a\": [\n    \"{0}\",\n    \"{0}\"\n  ],\n  \"b\": []\n}}", "x".repeat(60))
        );
    }
}
