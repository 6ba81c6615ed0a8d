//! Lists what is `pub` in the sources of a crate.

use std::fs;
use std::path::Path;

use quote::ToTokens;
use syn::{Attribute, Fields, ImplItem, Item, TraitItem, Visibility};

/// One line for each public item, sorted by its path.
pub(crate) fn of(source: &Path) -> String {
    let mut lines = Vec::new();
    directory(source, "", &mut lines);
    lines.sort();
    lines.dedup();
    lines.join("\n") + "\n"
}

fn directory(directory: &Path, module: &str, lines: &mut Vec<String>) {
    let entries = fs::read_dir(directory).expect("readable");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let inside = if module.is_empty() { name.clone() } else { format!("{module}::{name}") };
        if path.is_dir() {
            self::directory(&path, &inside, lines);
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests" {
            let module = if ["lib", "mod"].contains(&name.as_str()) { module } else { &inside };
            let text = fs::read_to_string(&path).expect("readable");
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            file.items.iter().for_each(|item| list(item, module, lines));
        }
    }
}

fn list(item: &Item, module: &str, lines: &mut Vec<String>) {
    let mut add = |name: &dyn ToTokens, what: String| {
        lines.push(format!("{module} {}: {what}", text(name)));
    };
    match item {
        Item::Fn(item) if is_public(&item.vis, &item.attrs) => {
            add(&item.sig.ident, conditions(&item.attrs) + &text(&item.sig));
        }
        Item::Const(item) if is_public(&item.vis, &item.attrs) => {
            add(&item.ident, format!("const {}", text(&item.ty)));
        }
        Item::Type(item) if is_public(&item.vis, &item.attrs) => {
            add(&item.ident, format!("type = {}", text(&item.ty)));
        }
        Item::Mod(item) if is_public(&item.vis, &item.attrs) => {
            add(&item.ident, conditions(&item.attrs) + "mod");
        }
        Item::Use(item) if is_public(&item.vis, &item.attrs) => {
            lines.push(format!("{module} use {}{}", conditions(&item.attrs), text(&item.tree)));
        }
        Item::Struct(item) if is_public(&item.vis, &item.attrs) => {
            add(&item.ident, format!("{}struct{}", conditions(&item.attrs), text(&item.generics)));
            fields(&item.fields, &item.ident.to_string(), module, lines);
        }
        Item::Enum(item) if is_public(&item.vis, &item.attrs) => {
            add(&item.ident, format!("{}enum{}", conditions(&item.attrs), text(&item.generics)));
            for variant in &item.variants {
                lines.push(format!(
                    "{module} {}::{}",
                    item.ident,
                    text(&variant.ident) + &shape(&variant.fields)
                ));
            }
        }
        Item::Trait(item) if is_public(&item.vis, &item.attrs) => {
            let (generics, bounds) = (text(&item.generics), text(&item.supertraits));
            add(&item.ident, format!("trait{generics}: {bounds}"));
            let signatures = item.items.iter().filter_map(in_trait);
            lines.extend(signatures.map(|what| format!("{module} {}::{what}", item.ident)));
        }
        Item::Impl(item) if item.trait_.is_none() && !is_for_tests(&item.attrs) => {
            let name = text(&item.self_ty);
            let methods = item.items.iter().filter_map(in_impl);
            lines.extend(methods.map(|what| format!("{module} {name}::{what}")));
        }
        _ => {}
    }
}

fn in_trait(item: &TraitItem) -> Option<String> {
    match item {
        TraitItem::Fn(item) => {
            let given = if item.default.is_some() { " (has a default)" } else { "" };
            Some(format!("{}{given}", text(&item.sig)))
        }
        TraitItem::Type(item) => Some(format!("type {}: {}", item.ident, text(&item.bounds))),
        TraitItem::Const(item) => Some(format!("const {}: {}", item.ident, text(&item.ty))),
        _ => None,
    }
}

fn in_impl(item: &ImplItem) -> Option<String> {
    match item {
        ImplItem::Fn(item) if is_public(&item.vis, &item.attrs) => {
            Some(conditions(&item.attrs) + &text(&item.sig))
        }
        ImplItem::Const(item) if is_public(&item.vis, &item.attrs) => {
            Some(format!("const {}: {}", item.ident, text(&item.ty)))
        }
        _ => None,
    }
}

fn fields(fields: &Fields, of: &str, module: &str, lines: &mut Vec<String>) {
    for (place, field) in fields.iter().enumerate() {
        if is_public(&field.vis, &field.attrs) {
            let name = field.ident.as_ref().map_or(place.to_string(), ToString::to_string);
            lines.push(format!("{module} {of}.{name}: {}", text(&field.ty)));
        }
    }
}

/// The fields of a variant, which are as public as it is.
fn shape(fields: &Fields) -> String {
    let all = fields.iter().map(|field| {
        let name = field.ident.as_ref().map_or(String::new(), |name| format!("{name}: "));
        name + &text(&field.ty)
    });
    if fields.is_empty() { String::new() } else { format!("({})", all.collect::<Vec<_>>().join(", ")) }
}

fn is_public(visibility: &Visibility, attributes: &[Attribute]) -> bool {
    matches!(visibility, Visibility::Public(_)) && !is_for_tests(attributes)
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| text(attribute) == "#[cfg(test)]")
}

/// What attributes say about who may use an item, and how.
fn conditions(attributes: &[Attribute]) -> String {
    let matters = ["cfg", "derive", "non_exhaustive", "must_use"];
    let kept = attributes.iter().filter(|one| matters.iter().any(|name| one.path().is_ident(name)));
    kept.map(|attribute| text(attribute) + " ").collect()
}

/// Tokens as text, with fewer spaces than they have by themselves.
fn text(tokens: &(impl ToTokens + ?Sized)) -> String {
    let mut text = tokens.to_token_stream().to_string();
    let spaces =
        [(" ::", "::"), (":: ", "::"), (" <", "<"), ("< ", "<"), (" >", ">"), (" ,", ","), ("& ", "&")];
    let brackets =
        [(" (", "("), ("( ", "("), (" )", ")"), ("# [", "#["), (" ]", "]"), ("[ ", "["), (" :", ":")];
    for (from, to) in spaces.into_iter().chain(brackets) {
        text = text.replace(from, to);
    }
    text.replace("->(", "-> (").replace(" - >", " ->").replace(" ->", " -> ").replace("->  ", "-> ")
}
