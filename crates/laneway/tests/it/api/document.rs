//! The document, read.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::Value;

/// The description that is kept; that it is the daemon's own, a test of the daemon says.
pub(super) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../../docs/openapi.json")).expect("it is JSON")
});

/// One operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) described: &'static Value,
}

/// What is told in the path, the query or a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) schema: &'static Value,
    pub(super) required: bool,
}

/// All operations.
pub(super) fn operations() -> Vec<Operation> {
    let paths = DOCUMENT["paths"].as_object().expect("a document has paths");
    let all = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("a path has operations");
        item.iter().map(|(method, described)| Operation { method, path, described })
    });
    all.collect()
}

/// What a reference refers to; another value is itself.
pub(super) fn followed(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(place) => {
            let found = DOCUMENT.pointer(place.trim_start_matches('#'));
            followed(found.unwrap_or_else(|| panic!("there is no {place}")))
        }
        None => value,
    }
}

impl Operation {
    /// For messages.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method.to_uppercase(), self.path)
    }

    pub(super) fn id(&self) -> &'static str {
        self.described["operationId"].as_str().expect("every operation has an id")
    }

    /// The methods that this path takes, also as one of another pattern: an instance may be called as a route is.
    pub(super) fn methods_of(path: &str) -> BTreeSet<&'static str> {
        let fits = |pattern: &str| {
            let same = |(pattern, segment): (&str, &str)| pattern.starts_with('{') || pattern == segment;
            pattern.split('/').count() == path.split('/').count()
                && pattern.split('/').zip(path.split('/')).all(same)
        };
        operations().into_iter().filter(|other| fits(other.path)).map(|other| other.method).collect()
    }

    /// The path with this in the place of all that is named in it.
    pub(super) fn path_to(&self, target: &str) -> String {
        let segment =
            |segment: &str| if segment.starts_with('{') { target.to_owned() } else { segment.to_owned() };
        self.path.split('/').map(segment).collect::<Vec<_>>().join("/")
    }

    /// Those parameters that are in the query, or elsewhere.
    pub(super) fn parameters(&self, place: &str) -> Vec<Parameter> {
        let all = self.described["parameters"].as_array().into_iter().flatten().map(followed);
        let there = all.filter(|parameter| parameter["in"] == place);
        there
            .map(|parameter| Parameter {
                name: parameter["name"].as_str().expect("a parameter has a name"),
                schema: followed(&parameter["schema"]),
                required: parameter["required"] == true,
            })
            .collect()
    }

    /// The schema of its JSON body.
    pub(super) fn json_body(&self) -> Option<&'static Value> {
        let schema = self.described.pointer("/requestBody/content/application~1json/schema")?;
        // One that may be left out is none, or an object.
        let forms = schema["oneOf"].as_array();
        Some(followed(forms.into_iter().flatten().find(|form| form["type"] != "null").unwrap_or(schema)))
    }

    /// It makes no sense without its body.
    pub(super) fn needs_body(&self) -> bool {
        self.described["requestBody"]["required"] == true
    }

    /// It takes octets.
    pub(super) fn takes_octets(&self) -> bool {
        self.described.pointer("/requestBody/content/application~1octet-stream").is_some()
    }

    /// It can answer so.
    pub(super) fn answers(&self, status: u16) -> bool {
        self.described["responses"].get(status.to_string()).is_some()
    }
}
