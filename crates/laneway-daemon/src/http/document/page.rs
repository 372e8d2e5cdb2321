//! The document as a page: written here and now, without scripts, and with nothing from elsewhere.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}\
h1,h2{line-height:1.2}h2{margin-top:2.5rem;border-bottom:1px solid #ccc}\
code{font:0.9em ui-monospace,monospace}summary{cursor:pointer;padding:.25rem 0}summary b{display:inline-block;width:3.5rem}\
details{border-bottom:1px solid #eee}table{border-collapse:collapse;margin:.5rem 0 1rem 1rem}\
td{padding:.15rem 1rem .15rem 0;vertical-align:top}nav a{margin-right:1rem}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}a{color:#8ab4f8}details{border-color:#333}}";

/// The page, and what a browser is to let it do: nothing but wear its own style.
pub(super) fn of(document: &Value) -> (String, String) {
    let mut page = Page(String::with_capacity(256 << 10));
    page.write(document);
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    (page.0, policy)
}

struct Page(String);

impl Page {
    /// Markup of ours, as it is.
    fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
    }

    /// Text, which can be no markup.
    fn text(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                other => self.0.push(other),
            }
        }
    }

    /// Text in which `` `this` `` is code.
    fn prose(&mut self, text: &str) {
        for (number, part) in text.split('`').enumerate() {
            let is_code = number % 2 == 1;
            self.raw(if is_code { "<code>" } else { "" });
            self.text(part);
            self.raw(if is_code { "</code>" } else { "" });
        }
    }

    fn write(&mut self, document: &Value) {
        let title = document["info"]["title"].as_str().unwrap_or_default();
        self.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
        self.text(title);
        self.raw("</title><meta name=\"viewport\" content=\"width=device-width\"><style>");
        self.raw(STYLE);
        self.raw("</style></head><body><h1>");
        self.text(title);
        self.raw("</h1><p>");
        self.prose(document["info"]["description"].as_str().unwrap_or_default());
        self.raw("</p><p><a href=\"/api/openapi.json\">openapi.json</a></p>");
        let groups = groups_of(document);
        self.raw("<nav>");
        for group in groups.keys() {
            let _ = write!(self.0, "<a href=\"#tag-{group}\">{group}</a>");
        }
        self.raw("<a href=\"#schemas\">schemas</a></nav>");
        for (group, operations) in groups {
            let _ = write!(self.0, "<h2 id=\"tag-{group}\">{group}</h2>");
            for (method, path, operation) in operations {
                self.operation(document, method, path, operation);
            }
        }
        self.raw("<h2 id=\"schemas\">schemas</h2>");
        for (name, schema) in fields(&document["components"]["schemas"]) {
            let _ = write!(self.0, "<details id=\"schema-{name}\"><summary><code>{name}</code> ");
            self.prose(schema["description"].as_str().unwrap_or_default());
            self.raw("</summary>");
            self.schema(schema);
            self.raw("</details>");
        }
        self.raw("</body></html>\n");
    }

    fn operation(&mut self, document: &Value, method: &str, path: &str, operation: &Value) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        let _ = write!(self.0, "<details id=\"{id}\"><summary><b>{}</b><code>", method.to_uppercase());
        self.text(path);
        self.raw("</code> ");
        self.prose(operation["summary"].as_str().unwrap_or_default());
        self.raw("</summary>");
        if let Some(more) = operation["description"].as_str() {
            self.raw("<p>");
            self.prose(more);
            self.raw("</p>");
        }
        self.raw("<table>");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter = followed(document, parameter);
            let name = parameter["name"].as_str().unwrap_or_default();
            let place = parameter["in"].as_str().unwrap_or_default();
            self.row(&format!("{place} {name}"), parameter, &parameter["schema"]);
        }
        for (kind, content) in fields(&operation["requestBody"]["content"]) {
            self.row(&format!("body {kind}"), &operation["requestBody"], &content["schema"]);
        }
        for (status, answer) in fields(&operation["responses"]) {
            let answer = followed(document, answer);
            let contents = fields(&answer["content"]);
            if contents.is_empty() {
                self.row(status, answer, &Value::Null);
            }
            for (kind, content) in contents {
                self.row(&format!("{status} {kind}"), answer, &content["schema"]);
            }
        }
        self.raw("</table></details>");
    }

    fn row(&mut self, name: &str, described: &Value, schema: &Value) {
        self.raw("<tr><td><code>");
        self.text(name);
        self.raw("</code></td><td>");
        self.kind(schema);
        self.raw("</td><td>");
        self.prose(described["description"].as_str().unwrap_or_default());
        self.raw("</td></tr>");
    }

    /// The fields of a schema, or of each of its forms.
    fn schema(&mut self, schema: &Value) {
        let properties = fields(&schema["properties"]);
        if !properties.is_empty() {
            self.raw("<table>");
            for (name, property) in properties {
                self.row(name, property, property);
            }
            self.raw("</table>");
        }
        for form in forms_of(schema) {
            if fields(&form["properties"]).is_empty() {
                self.raw("<p>");
                self.kind(form);
                self.raw(" ");
                self.prose(form["description"].as_str().unwrap_or_default());
                self.raw("</p>");
            } else {
                self.prose(form["description"].as_str().unwrap_or_default());
                self.schema(form);
            }
        }
        if properties_and_forms_are_missing(schema) {
            self.raw("<p>");
            self.kind(schema);
            self.raw("</p>");
        }
    }

    /// What a value is, in a few words.
    fn kind(&mut self, schema: &Value) {
        if let Some(name) = schema["$ref"].as_str().and_then(|place| place.rsplit('/').next()) {
            let _ = write!(self.0, "<a href=\"#schema-{name}\">{name}</a>");
            return;
        }
        if let Some(words) = schema["enum"].as_array() {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            self.text(&words.join(", "));
            return;
        }
        let forms = forms_of(schema);
        if !forms.is_empty() {
            for (number, form) in forms.into_iter().enumerate() {
                self.raw(if number == 0 { "" } else { " or " });
                self.kind(form);
            }
            return;
        }
        if schema["items"].is_object() {
            self.raw("array of ");
            self.kind(&schema["items"]);
            return;
        }
        match &schema["type"] {
            Value::String(kind) => self.text(kind),
            Value::Array(kinds) => {
                let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
                self.text(&kinds.join(" or "));
            }
            _ => {}
        }
    }
}

fn properties_and_forms_are_missing(schema: &Value) -> bool {
    fields(&schema["properties"]).is_empty() && forms_of(schema).is_empty()
}

fn forms_of(schema: &Value) -> Vec<&Value> {
    ["oneOf", "anyOf", "allOf"].iter().filter_map(|how| schema[how].as_array()).flatten().collect()
}

fn fields(object: &Value) -> Vec<(&String, &Value)> {
    object.as_object().into_iter().flatten().collect()
}

/// What a reference refers to; another value is itself.
fn followed<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let place = value["$ref"].as_str().map(|place| place.trim_start_matches('#'));
    place.and_then(|place| document.pointer(place)).unwrap_or(value)
}

/// The operations by their first tag, both in order.
fn groups_of(document: &Value) -> std::collections::BTreeMap<&str, Vec<(&str, &str, &Value)>> {
    let mut groups = std::collections::BTreeMap::<_, Vec<_>>::new();
    for (path, item) in fields(&document["paths"]) {
        for (method, operation) in fields(item) {
            let group = operation["tags"][0].as_str().unwrap_or_default();
            groups.entry(group).or_default().push((method.as_str(), path.as_str(), operation));
        }
    }
    groups
}
