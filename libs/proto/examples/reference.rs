//! Makes `docs/api/` from the comments and access rules of the contracts:
//! `cargo run -p wanwu-proto --example reference`. The result is committed; CI compares.

mod compiler;

use std::{collections::BTreeMap, error::Error, fmt::Write as _, fs, path::Path};

use compiler::compiled;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, FileDescriptor, Kind,
    MessageDescriptor, MethodDescriptor, ReflectMessage as _, ServiceDescriptor, Value,
};

const RULE: &str = "wanwu.access.v1.rule";
const OURS: &str = "wanwu.";

fn main() -> Result<(), Box<dyn Error>> {
    let pool = compiled(true)?.descriptor_pool();
    let rule = pool.get_extension_by_name(RULE).ok_or(RULE)?;
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api");
    fs::remove_dir_all(&docs).ok();
    fs::create_dir_all(&docs)?;

    let mut packages: BTreeMap<String, Vec<FileDescriptor>> = BTreeMap::new();
    for file in pool.files().filter(|f| f.package_name().starts_with(OURS)) {
        let package = file.package_name().to_owned();
        packages.entry(package).or_default().push(file);
    }
    let mut index = String::from(
        "# API reference\n\nMade from the comments of [proto/wanwu](../../proto/wanwu). Every public method is called \
         by gRPC, or by\n`POST /<package.Service>/<Method>` with JSON; chat and models also as OpenAI's clients do \
         ([edge](../../services/edge/README.md)).\n\n| method | who may call |\n|---|---|\n",
    );
    for (package, files) in &packages {
        let page = page(package, files, &rule);
        fs::write(docs.join(format!("{package}.md")), page)?;
        for method in files.iter().flat_map(services).flat_map(methods) {
            let (service, name) = (method.parent_service().name().to_owned(), method.name());
            let who = callers(&method, &rule);
            let link = anchor(&format!("{service}.{name}"));
            writeln!(
                index,
                "| [{package}.{service}/{name}]({package}.md#{link}) | {who} |"
            )?;
        }
    }
    fs::write(docs.join("README.md"), index)?;
    Ok(())
}

fn services(file: &FileDescriptor) -> Vec<ServiceDescriptor> {
    file.services().collect()
}

fn methods(service: ServiceDescriptor) -> Vec<MethodDescriptor> {
    service.methods().collect()
}

/// Everything of one package: services first, then messages, then enums.
fn page(package: &str, files: &[FileDescriptor], rule: &ExtensionDescriptor) -> String {
    let mut text = format!("# {package}\n");
    for service in files.iter().flat_map(services) {
        section(
            &mut text,
            2,
            service.name(),
            &comment(&service.parent_file(), service.path()),
        );
        for method in service.methods() {
            let title = format!("{}.{}", service.name(), method.name());
            let says = comment(&service.parent_file(), method.path());
            section(&mut text, 3, &title, &says);
            let stream = |is: bool| if is { "stream of " } else { "" };
            text += &format!(
                "\n{}{} → {}{}. Callers: {}.\n",
                stream(method.is_client_streaming()),
                link(package, method.input().full_name()),
                stream(method.is_server_streaming()),
                link(package, method.output().full_name()),
                callers(&method, rule),
            );
        }
    }
    for message in files.iter().flat_map(|file| file.messages()) {
        describe_message(&mut text, package, &message);
    }
    for kind in files.iter().flat_map(|file| file.enums()) {
        describe_enum(&mut text, &kind);
    }
    text
}

fn describe_message(text: &mut String, package: &str, message: &MessageDescriptor) {
    let file = message.parent_file();
    section(text, 2, message.name(), &comment(&file, message.path()));
    if message.fields().len() > 0 {
        text.push_str("\n| field | type | |\n|---|---|---|\n");
    }
    for field in message.fields() {
        let says = comment(&file, field.path())
            .replace('\n', " ")
            .replace('|', "\\|");
        let line = format!(
            "| `{}` | {} | {says} |\n",
            field.name(),
            type_of(package, &field)
        );
        text.push_str(&line);
    }
    for child in message
        .child_messages()
        .filter(|child| !child.is_map_entry())
    {
        describe_message(text, package, &child);
    }
    message
        .child_enums()
        .for_each(|kind| describe_enum(text, &kind));
}

fn describe_enum(text: &mut String, kind: &EnumDescriptor) {
    let file = kind.parent_file();
    section(text, 2, kind.name(), &comment(&file, kind.path()));
    text.push_str("\n| value | | |\n|---|---|---|\n");
    for value in kind.values() {
        let says = comment(&file, value.path())
            .replace('\n', " ")
            .replace('|', "\\|");
        text.push_str(&format!(
            "| `{}` | {} | {says} |\n",
            value.name(),
            value.number()
        ));
    }
}

fn section(text: &mut String, level: usize, title: &str, says: &str) {
    text.push_str(&format!("\n{} {title}\n", "#".repeat(level)));
    if !says.is_empty() {
        text.push_str(&format!("\n{says}\n"));
    }
}

fn type_of(package: &str, field: &FieldDescriptor) -> String {
    let one = match field.kind() {
        Kind::Message(message) => link(package, message.full_name()),
        Kind::Enum(kind) => link(package, kind.full_name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    if field.is_list() {
        format!("list of {one}")
    } else {
        one
    }
}

/// A link where the name is ours, else the name.
fn link(package: &str, full_name: &str) -> String {
    let (home, name) = full_name.rsplit_once('.').unwrap_or(("", full_name));
    match home {
        home if home == package => format!("[{name}](#{})", anchor(name)),
        home if home.starts_with(OURS) => format!("[{full_name}]({home}.md#{})", anchor(name)),
        _ => full_name.to_owned(),
    }
}

/// As renderers of Markdown make it of a heading.
fn anchor(title: &str) -> String {
    title.to_lowercase().replace('.', "")
}

/// Who may call, in words.
fn callers(method: &MethodDescriptor, rule: &ExtensionDescriptor) -> String {
    let options = method.options();
    let rule = options.get_extension(rule).into_owned();
    let Value::Message(rule) = rule else {
        return String::new();
    };
    let mut who = Vec::new();
    for (field, says) in [
        ("anonymous", "anybody"),
        ("account", "account"),
        ("app_key", "API key"),
    ] {
        if flag(&rule, field) {
            who.push(says.to_owned());
        }
    }
    who.extend(names(&rule, "operator_roles").map(|role| format!("operator ({role})")));
    who.extend(names(&rule, "services").map(|service| format!("service {service}")));
    let gates: Vec<String> = names(&rule, "gates").collect();
    let mut text = who.join(", ");
    if !gates.is_empty() {
        text += &format!("; gates: {}", gates.join(", "));
    }
    text
}

fn flag(rule: &DynamicMessage, field: &str) -> bool {
    rule.get_field_by_name(field)
        .and_then(|value| value.as_bool())
        .unwrap_or_default()
}

/// The texts of a list: names of enum values without their prefix.
fn names(rule: &DynamicMessage, field: &str) -> impl Iterator<Item = String> {
    let kind = rule
        .descriptor()
        .get_field_by_name(field)
        .map(|field| field.kind());
    let values = rule
        .get_field_by_name(field)
        .map(|value| value.into_owned());
    let list = values
        .and_then(|value| value.as_list().map(<[Value]>::to_vec))
        .unwrap_or_default();
    list.into_iter()
        .filter_map(move |value| match (value, &kind) {
            (Value::String(text), _) => Some(text),
            (Value::EnumNumber(number), Some(Kind::Enum(kind))) => {
                let name = kind.get_value(number)?.name().to_lowercase();
                let short = name
                    .strip_prefix("operator_role_")
                    .or_else(|| name.strip_prefix("gate_"));
                Some(short.unwrap_or(&name).replace('_', " "))
            }
            _ => None,
        })
}

/// What stands above an element in its file.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = info.map(|info| &info.location[..]).unwrap_or_default();
    let found = locations.iter().find(|location| location.path == path);
    let text = found.and_then(|location| location.leading_comments.as_deref());
    let lines = text.unwrap_or_default().lines().map(str::trim);
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}
