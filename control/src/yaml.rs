//! YAML documents as Kubernetes reads them, with the place of every value.
//!
//! Other than a parser of configuration this one keeps to YAML 1.1 ([`scalar`]),
//! follows anchors, aliases and merge keys (`<<`), refuses a key that stands twice, and
//! says of each mistake in which line and column it stands. What a text can make it
//! hold is bounded: [`MAX_DEPTH`] levels, [`MAX_VALUES`] values, aliases included.
//!
//! `resources` takes the values as JSON, `cluster` as types of its own ([`typed`]).

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::Value;

mod scalar;
pub(crate) mod typed;

/// A value, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Where it begins.
    pub(crate) place: Place,
    pub(crate) content: Content,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// No list and no map.
    Scalar(Value),
    List(Vec<Node>),
    Map(BTreeMap<String, Field>),
}

/// A field of a map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// Where its key stands.
    pub(crate) place: Place,
    pub(crate) value: Node,
}

/// A place in a text; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) place: Place,
    pub(crate) message: String,
}

impl Mistake {
    fn at(marker: Marker, message: impl Into<String>) -> Self {
        Self {
            place: place(marker),
            message: message.into(),
        }
    }
}

impl Node {
    /// The value as JSON.
    pub(crate) fn into_value(self) -> Value {
        match self.content {
            Content::Scalar(value) => value,
            Content::List(items) => items.into_iter().map(Self::into_value).collect(),
            Content::Map(fields) => fields
                .into_iter()
                .map(|(key, field)| (key, field.value.into_value()))
                .collect(),
        }
    }

    /// Whether there is nothing.
    pub(crate) fn is_null(&self) -> bool {
        self.content == Content::Scalar(Value::Null)
    }
}

/// The text of a file.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Mistake> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let last_line = good.rsplit(|&byte| byte == b'\n').next().unwrap_or(good);
        Mistake {
            place: Place {
                line: good.iter().filter(|&&byte| byte == b'\n').count() + 1,
                column: String::from_utf8_lossy(last_line).chars().count() + 1,
            },
            message: "is not UTF-8 text; is this a binary file?".to_owned(),
        }
    })
}

/// The documents of `text` that are not empty.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, Mistake> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        values: 0,
    };
    let mut documents = Vec::new();
    loop {
        let (event, _) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(..) => {
                reader.anchors.clear();
                let (event, span) = reader.next()?;
                let node = reader.node(event, span, 0)?;
                if !node.is_null() {
                    documents.push(node);
                }
            }
            _ => {}
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// The value of each anchor that is complete, and how many values it holds.
    anchors: HashMap<usize, (Node, usize)>,
    /// How many values have been made.
    values: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Mistake> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(event)) => return Ok(event),
                Some(Err(error)) => return Err(explain(&error)),
                None => return Ok((Event::StreamEnd, Span::default())),
            }
        }
    }

    /// The value that begins with `event`, which has been read.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Mistake> {
        if depth > MAX_DEPTH {
            let message = format!("is nested more than {MAX_DEPTH} levels deep");
            return Err(Mistake::at(span.start, message));
        }
        let before = self.values;
        self.count(1, span)?;
        let (content, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar_value(&text, style, tag.as_deref(), span)?;
                (Content::Scalar(value), anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    items.push(self.node(event, span, depth + 1)?);
                }
                (Content::List(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => (Content::Map(self.mapping(depth)?), anchor),
            Event::Alias(anchor) => return self.alias(anchor, span),
            _ => return Err(Mistake::at(span.start, "is not a value")),
        };
        let node = Node {
            place: place(span.start),
            content,
        };
        if anchor > 0 {
            let values = self.values - before;
            self.anchors.insert(anchor, (node.clone(), values));
        }
        Ok(node)
    }

    fn mapping(&mut self, depth: usize) -> Result<BTreeMap<String, Field>, Mistake> {
        let mut map = BTreeMap::new();
        let mut merged = BTreeMap::new();
        loop {
            let (event, span) = self.next()?;
            let is_merge = match &event {
                Event::MappingEnd => break,
                Event::Scalar(text, ScalarStyle::Plain, ..) => text == "<<",
                _ => false,
            };
            let key = self.node(event, span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            if is_merge {
                merge(&mut merged, value, value_span)?;
                continue;
            }
            let key = key_text(key)?;
            if map.contains_key(&key) {
                let message = format!("key `{key}` is there twice; remove one");
                return Err(Mistake::at(span.start, message));
            }
            let place = place(span.start);
            map.insert(key, Field { place, value });
        }
        for (key, field) in merged {
            map.entry(key).or_insert(field);
        }
        Ok(map)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, Mistake> {
        let Some((node, values)) = self.anchors.get(&anchor).cloned() else {
            return Err(Mistake::at(span.start, "is an alias of the value it is in"));
        };
        self.count(values, span)?;
        Ok(node)
    }

    fn count(&mut self, values: usize, span: Span) -> Result<(), Mistake> {
        self.values += values;
        if self.values > MAX_VALUES {
            let message =
                format!("the file holds more than {MAX_VALUES} values, aliases followed; split it");
            return Err(Mistake::at(span.start, message));
        }
        Ok(())
    }
}

fn scalar_value(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: Span,
) -> Result<Value, Mistake> {
    let wanted = match tag.map(|tag| (tag.handle(), tag.suffix())) {
        // `!` alone asks for a text.
        Some(("tag:yaml.org,2002:", "str") | ("", "!") | ("!", "")) => return Ok(text.into()),
        None if style != ScalarStyle::Plain => return Ok(text.into()),
        None => None,
        Some(("tag:yaml.org,2002:", kind @ ("bool" | "int" | "float" | "null"))) => Some(kind),
        Some((handle, suffix)) => {
            let message = format!("the tag {handle}{suffix} has no meaning in Kubernetes");
            return Err(Mistake::at(span.start, message));
        }
    };
    let value = scalar::resolve(text)
        .ok_or_else(|| Mistake::at(span.start, format!("{text} cannot be said in JSON")))?;
    let is_wanted = match wanted {
        None => true,
        Some("bool") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("int") => value.is_u64() || value.is_i64(),
        Some(_) => value.is_number(),
    };
    if is_wanted {
        Ok(value)
    } else {
        let kind = wanted.unwrap_or_default();
        Err(Mistake::at(span.start, format!("`{text}` is no {kind}")))
    }
}

/// A key as JSON has it: Kubernetes turns `on:` into `"true"` and `1:` into `"1"`.
fn key_text(key: Node) -> Result<String, Mistake> {
    match key.content {
        Content::Scalar(Value::String(text)) => Ok(text),
        Content::Scalar(Value::Bool(yes)) => Ok(yes.to_string()),
        Content::Scalar(Value::Number(number)) => Ok(number.to_string()),
        _ => Err(Mistake {
            place: key.place,
            message: "a key must be a text, a number or a boolean".to_owned(),
        }),
    }
}

/// What `<<` brings: one mapping, or several of which the first wins.
fn merge(into: &mut BTreeMap<String, Field>, node: Node, span: Span) -> Result<(), Mistake> {
    let maps = match node.content {
        Content::List(maps) => maps,
        content => vec![Node {
            place: node.place,
            content,
        }],
    };
    for map in maps {
        let Content::Map(map) = map.content else {
            return Err(Mistake::at(
                span.start,
                "`<<` takes a mapping, or a list of mappings",
            ));
        };
        for (key, field) in map {
            into.entry(key).or_insert(field);
        }
    }
    Ok(())
}

fn explain(error: &ScanError) -> Mistake {
    Mistake::at(*error.marker(), error.info())
}

fn place(marker: Marker) -> Place {
    Place {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

/// No Kubernetes object is deeper; a schema of a CustomResourceDefinition has some
/// thirty levels.
const MAX_DEPTH: usize = 100;
/// A file of 16 MiB has fewer, unless aliases multiply them.
const MAX_VALUES: usize = 4_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn values(text: &str) -> Vec<Value> {
        documents(text)
            .unwrap()
            .into_iter()
            .map(Node::into_value)
            .collect()
    }

    /// As `line:column message`.
    fn mistake(text: &str) -> String {
        let Mistake { place, message } = documents(text).unwrap_err();
        format!("{}:{} {message}", place.line, place.column)
    }

    #[test]
    fn documents_are_separated_and_empty_ones_left_out() {
        let text = "# nothing\n---\n---\na: 1\n---\n# c\n---\nb: 2\n...\n";
        assert_eq!(values(text), [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(values(""), Vec::<Value>::new());
        assert_eq!(
            documents(text).unwrap()[1].place,
            Place { line: 8, column: 1 }
        );
    }

    #[test]
    fn a_separator_within_a_text_separates_nothing() {
        let text = "a: |\n  x\n  ---\n  y\n";
        assert_eq!(values(text), [json!({"a": "x\n---\ny\n"})]);
    }

    #[test]
    fn plain_scalars_have_types_and_quoted_ones_are_texts() {
        let text = "{a: no, b: 'no', c: \"0644\", d: 0644, on: 1, 5: x, e: !!str 1, f: !!int '7'}";
        assert_eq!(
            values(text),
            [json!({
                "a": false, "b": "no", "c": "0644", "d": 420, "true": 1, "5": "x", "e": "1", "f": 7,
            })]
        );
    }

    #[test]
    fn anchors_and_merge_keys_are_followed() {
        let text =
            "base: &b {a: 1, b: 2}\none: {<<: *b, b: 3}\ntwo: {<<: [{a: 9}, *b]}\nlist: [*b]\n";
        assert_eq!(
            values(text)[0],
            json!({
                "base": {"a": 1, "b": 2}, "one": {"a": 1, "b": 3},
                "two": {"a": 9, "b": 2}, "list": [{"a": 1, "b": 2}],
            })
        );
    }

    #[test]
    fn each_mistake_has_its_place() {
        for (text, expected) in [
            (
                "a: 1\nb: {c: 1,\n c: 2}\n",
                "3:2 key `c` is there twice; remove one",
            ),
            (
                "on: 1\ntrue: 2\n",
                "2:1 key `true` is there twice; remove one",
            ),
            ("a: [.inf]\n", "1:5 .inf cannot be said in JSON"),
            ("a: !!int x\n", "1:"),
            ("a: !Ref x\n", "1:"),
            ("[a]: 1\n", "1:"),
            ("<<: 1\n", "1:5 `<<` takes a mapping, or a list of mappings"),
            ("a: *nobody\n", "1:4 "),
            ("a:\n\t- b\n", "2:"),
            ("a: b: c\n", "1:"),
            ("a: 'x\n", ""),
            ("a: \u{7}\n", "1:"),
        ] {
            let found = mistake(text);
            assert!(found.starts_with(expected), "{text:?}: {found}");
            assert!(!found.contains('\n'), "{found}");
        }
    }

    #[test]
    fn an_alias_of_its_own_value_is_refused() {
        assert!(mistake("a: &a [*a]\n").contains("alias"));
    }

    #[test]
    fn bombs_end() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for i in 1..30 {
            let list = vec![format!("*a{}", i - 1); 9].join(", ");
            text.push_str(&format!("a{i}: &a{i} [{list}]\n"));
        }
        assert!(mistake(&text).contains("more than 4000000 values"));
        for (open, close) in [("[", "]"), ("{a: ", "}")] {
            let deep = open.repeat(10_000) + "x" + &close.repeat(10_000);
            assert!(documents(&deep).is_err());
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_is_read_as_json(value in any_json()) {
            prop_assume!(!value.is_null());
            prop_assert_eq!(values(&value.to_string()), [value]);
        }

        #[test]
        fn no_text_stops_it(text in "([-a:&*!<\\[\\]{},\"'#|> \n\t]|\\PC){0,40}") {
            let _ = documents(&text);
        }
    }
}
