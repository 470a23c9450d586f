//! The reference page of the configuration, made from the comments of the very types that read it
//! ([`file`](super::file)): so it has every field, and says of each what the program does.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::file::{self, File};

/// The files of the types.
const SOURCES: [&str; 9] = [
    include_str!("file.rs"),
    include_str!("file/access.rs"),
    include_str!("file/cache.rs"),
    include_str!("file/limits.rs"),
    include_str!("file/query_log.rs"),
    include_str!("file/rebinding.rs"),
    include_str!("file/recursion.rs"),
    include_str!("file/trust.rs"),
    include_str!("file/zone.rs"),
];

/// A type that has fields.
struct Struct {
    name: String,
    about: String,
    fields: Vec<Field>,
}

struct Field {
    name: String,
    kind: String,
    about: String,
}

/// The types with fields in a source.
fn structs(source: &str) -> Vec<Struct> {
    let mut structs: Vec<Struct> = Vec::new();
    let mut about = String::new();
    let mut is_open = false;
    for line in source.lines() {
        let text = line.trim_start();
        if let Some(comment) = text.strip_prefix("/// ") {
            let gap = if about.is_empty() { "" } else { " " };
            about = format!("{about}{gap}{comment}");
        } else if let Some(head) = line.strip_prefix("pub struct ") {
            if let Some(name) = head.strip_suffix(" {") {
                structs.push(Struct {
                    name: name.to_owned(),
                    about: std::mem::take(&mut about),
                    fields: Vec::new(),
                });
                is_open = true;
            }
        } else if line == "}" {
            is_open = false;
            about.clear();
        } else if is_open
            && let Some(field) = text.strip_prefix("pub ")
            && let (Some((name, kind)), Some(last)) = (field.split_once(": "), structs.last_mut())
        {
            last.fields.push(Field {
                name: name.to_owned(),
                kind: kind.trim_end_matches(',').to_owned(),
                about: std::mem::take(&mut about),
            });
        } else if !is_open && !text.starts_with('#') {
            about.clear();
        }
    }
    structs
}

/// What a person writes for a type.
fn written(kind: &str) -> &'static str {
    match kind {
        "bool" => "`true` or `false`",
        "usize" | "u16" | "u32" | "u8" => "a number",
        "Duration" => "a time, as in `10s`",
        "Option<Duration>" => "a time, as in `10s`",
        "Size" => "bytes, as in `64MiB`",
        "SocketAddr" => "an address with its port",
        "Vec<SocketAddr>" => "a list of addresses with their ports",
        "PathBuf" | "Option<PathBuf>" => "a file",
        "Vec<PathBuf>" => "a list of files",
        "Name" => "a name",
        "Vec<Name>" => "a list of names",
        "Vec<Subnet>" | "Vec<Networks>" => "a list of subnets",
        "Vec<Forward>" => "a list of servers",
        "Option<bool>" => "`true` or `false`",
        "Mode" => "`enforce` or `log`",
        "BTreeMap<String, Vec<IpAddr>>" => "names, each with a list of addresses",
        _ => "see below",
    }
}

/// The whole page.
fn page() -> String {
    let all: Vec<Struct> = SOURCES.iter().flat_map(|source| structs(source)).collect();
    let mut page = String::from(
        "# Configuration of nodedns\n\n\
         `/etc/nodedns/nodedns.yml`, or `--config FILE`. Unknown fields are refused, and an error names line and\n\
         column: `nodedns check` tries a file out. Made from the comments in [src/config/file.rs](src/config/file.rs) and\n\
         beside it; `cargo test --workspace --lib -- --ignored the_reference_is_written` makes it anew.\n",
    );
    section(&mut page, &all, "File", "");
    page
}

fn section(page: &mut String, all: &[Struct], name: &str, path: &str) {
    let Some(one) = all.iter().find(|one| one.name == name) else {
        return;
    };
    if !path.is_empty() {
        let title = path.trim_end_matches('.');
        // A String takes whatever is written.
        let _ = write!(page, "\n## `{title}`\n\n{}\n", one.about);
    }
    page.push('\n');
    for field in &one.fields {
        let Field { name, kind, about } = field;
        let _ = writeln!(page, "- **`{path}{name}`**, {}: {about}", written(kind));
    }
    for field in &one.fields {
        let is_list = field.kind.starts_with("Vec<");
        let inner = field.kind.trim_start_matches("Vec<").trim_end_matches('>');
        let brackets = if is_list { "[]" } else { "" };
        section(
            page,
            all,
            inner,
            &format!("{path}{}{brackets}.", field.name),
        );
    }
}

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFIGURATION.md")
}

#[test]
#[ignore = "writes nodedns/CONFIGURATION.md anew; `cargo test --workspace --lib -- --ignored the_reference_is_written`"]
fn the_reference_is_written() {
    std::fs::write(reference(), page()).unwrap();
}

#[test]
fn the_reference_is_that_of_this_code() {
    let kept = std::fs::read_to_string(reference()).unwrap();
    assert!(
        kept == page(),
        "it is not; `cargo test --workspace --lib -- --ignored the_reference_is_written` makes it so"
    );
}

/// The defaults of a type, as they are written.
fn defaults(name: &str) -> Option<Value> {
    let value = match name {
        "File" => serde_json::to_value(File::with_zones(Vec::new())),
        "Cache" => serde_json::to_value(file::Cache::default()),
        "Limits" => serde_json::to_value(file::Limits::default()),
        "QueryLog" => serde_json::to_value(file::QueryLog::default()),
        _ => return None,
    };
    Some(value.unwrap())
}

#[test]
fn what_is_said_to_be_the_default_is_it() {
    let mut checked = 0;
    for one in SOURCES.iter().flat_map(|source| structs(source)) {
        let Some(defaults) = defaults(&one.name) else {
            continue;
        };
        for Field { name, about, .. } in &one.fields {
            // What is not written is the default, too; lists are said in words.
            let is = match defaults.get(name) {
                Some(Value::String(text)) => text.clone(),
                Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
                _ => continue,
            };
            let said = about.split("Default: ").nth(1).unwrap_or_default();
            let said = said
                .split([' ', ',', ';', '`'])
                .find(|word| !word.is_empty());
            let said = said.unwrap_or_default().trim_end_matches('.');
            assert_eq!(said, is, "{}.{name}: {about}", one.name);
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked}");
}

#[test]
fn every_field_says_what_it_is_when_nobody_says_anything() {
    let all: Vec<_> = SOURCES.iter().flat_map(|source| structs(source)).collect();
    // A zone alone has six.
    assert!(all.iter().map(|one| one.fields.len()).sum::<usize>() > 6 * all.len() / 2);
    for one in &all {
        for Field { name, kind, about } in &one.fields {
            let is_said = about.contains("Default") || about.contains("Required");
            let inner = kind.trim_start_matches("Vec<").trim_end_matches('>');
            // One that is in none of the sources would be missing from the page.
            let is_inner = all.iter().any(|one| one.name == inner);
            assert_eq!(
                is_inner,
                written(kind) == "see below",
                "{}.{name}",
                one.name
            );
            assert!(is_said || is_inner, "{}.{name}: {about}", one.name);
            // Numbers and times have a range.
            let has_range = about.contains(" to ");
            let needs_one = matches!(
                written(kind),
                "a number" | "a time, as in `10s`" | "bytes, as in `64MiB`"
            );
            assert!(has_range || !needs_one, "{}.{name}: {about}", one.name);
        }
    }
}
