//! Which calls a lease pays for: an app or a key with a budget has leases of its own, and so has a
//! model that a package is for. Billing says it with each lease.

use std::collections::HashMap;

use wanwu_ids::{AppId, KeyId};

/// Classes that are known of one account at a time; beyond it all are asked for anew.
const MAX_CLASSES: usize = 4096;

/// What billing finds budgets and packages by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// The app.
    pub app: AppId,
    /// The key.
    pub key: KeyId,
    /// The model.
    pub model: String,
}

/// The calls of one lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Of this app; `None`: of every app without a budget.
    pub app: Option<AppId>,
    /// Of this key; `None`: of every key without a budget.
    pub key: Option<KeyId>,
    /// Of these models; empty: of all.
    pub models: Vec<String>,
}

/// What is known of an account's classes.
#[derive(Debug, Default)]
pub struct Scopes {
    /// No budget and no package narrows anything.
    wide: bool,
    known: HashMap<Class, Scope>,
}

static WIDE: Scope = Scope {
    app: None,
    key: None,
    models: Vec::new(),
};

impl Scope {
    /// A call of this scope may be paid by a lease of another: the same budgets count it, and the
    /// lease is for its model, or for all where no package is for it.
    #[must_use]
    pub fn takes(&self, lease: &Self, model: &str) -> bool {
        let budgets = (lease.app, lease.key) == (self.app, self.key);
        let models = match lease.models.is_empty() {
            true => self.models.is_empty(),
            false => lease.models.iter().any(|name| name == model),
        };
        budgets && models
    }
}

impl Scopes {
    /// The scope of a class; `None`: billing has to say it.
    #[must_use]
    pub fn of(&self, class: &Class) -> Option<&Scope> {
        match self.wide {
            true => Some(&WIDE),
            false => self.known.get(class),
        }
    }

    /// Billing gave a lease of this scope for a call of this class.
    pub fn learn(&mut self, class: Class, scope: Scope) {
        self.wide = false;
        if self.known.len() >= MAX_CLASSES {
            self.known.clear();
        }
        self.known.insert(class, scope);
    }

    /// Billing says that nothing narrows the account's leases.
    pub fn all_wide(&mut self) {
        self.known.clear();
        self.wide = true;
    }

    /// Something changed: all is asked for anew.
    pub fn forget(&mut self) {
        self.known.clear();
        self.wide = false;
    }
}

#[cfg(test)]
mod tests {
    use wanwu_ids::Ids;

    use super::*;

    #[test]
    fn a_lease_for_a_model_is_spent_before_and_after_the_package_is_empty() {
        let narrow = Scope {
            models: vec!["m".to_owned()],
            ..Scope::default()
        };
        let wide = Scope::default();
        assert!(narrow.takes(&narrow, "m"));
        assert!(wide.takes(&narrow, "m"), "what is left of it");
        assert!(!wide.takes(&narrow, "other"));
        assert!(!narrow.takes(&wide, "m"), "the package pays first");
        assert!(wide.takes(&wide, "m"));
    }

    #[test]
    fn a_budget_is_not_shared_with_who_has_none() {
        let ids = Ids::system();
        let bound = Scope {
            key: Some(ids.id()),
            ..Scope::default()
        };
        let also_app = Scope {
            app: Some(ids.id()),
            ..bound.clone()
        };
        for (one, other) in [(&bound, &also_app), (&WIDE, &bound), (&WIDE, &also_app)] {
            assert!(!one.takes(other, "m"));
            assert!(!other.takes(one, "m"));
        }
        assert!(bound.takes(&bound, "m"));
    }

    #[test]
    fn what_is_known_is_bounded_and_can_be_forgotten() {
        let ids = Ids::system();
        let class = || Class {
            app: ids.id(),
            key: ids.id(),
            model: "m".to_owned(),
        };
        let mut scopes = Scopes::default();
        assert_eq!(scopes.of(&class()), None);
        scopes.all_wide();
        assert_eq!(scopes.of(&class()), Some(&WIDE));
        let first = class();
        scopes.learn(first.clone(), Scope::default());
        assert_eq!(scopes.of(&class()), None, "it is not wide any more");
        assert!(scopes.of(&first).is_some());
        for _ in 0..MAX_CLASSES {
            scopes.learn(class(), Scope::default());
        }
        assert!(scopes.known.len() <= MAX_CLASSES);
        scopes.forget();
        assert_eq!(scopes.of(&first), None);
    }
}
