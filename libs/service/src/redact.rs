use toml::{Table, Value};

/// Parts of a key's name that say that its value is not for eyes.
const SECRET: [&str; 7] = [
    "secret",
    "password",
    "token",
    "key",
    "url",
    "credential",
    "pepper",
];

/// Endings of names of such keys whose value only says where the secret is, or which.
const HARMLESS: [&str; 2] = ["_file", "_id"];

/// The configuration as TOML without its secrets. URLs count: they carry passwords.
pub(crate) fn redacted(mut table: Table) -> String {
    hide(&mut table);
    table.to_string()
}

fn hide(table: &mut Table) {
    for (key, value) in table.iter_mut() {
        match value {
            Value::Table(table) => hide(table),
            Value::Array(values) => {
                for value in values {
                    if let Value::Table(table) = value {
                        hide(table);
                    } else if is_secret(key) {
                        *value = Value::String("(hidden)".to_owned());
                    }
                }
            }
            Value::String(text) if is_secret(key) && !text.is_empty() => {
                *text = "(hidden)".to_owned();
            }
            _ => {}
        }
    }
}

fn is_secret(key: &str) -> bool {
    SECRET.iter().any(|part| key.contains(part))
        && !HARMLESS.iter().any(|ending| key.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_is_shown() {
        let table = "[database]\nurl = 'postgres://u:hunter2@h/d'\nmax_connections = 4\n\
                     [sms]\naccess_key_id = 'abc'\naccess_key_secret = 'hunter2'\n\
                     [tls]\nkey_file = '/run/tls/key.pem'\n";
        let text = redacted(table.parse().unwrap());
        assert!(!text.contains("hunter2"));
        for shown in ["max_connections = 4", "abc", "/run/tls/key.pem"] {
            assert!(text.contains(shown), "{shown}");
        }
    }
}
