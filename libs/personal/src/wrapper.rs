use std::{
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
};

use zeroize::Zeroizing;

/// A class of personal data.
pub trait Class: 'static {
    /// What stands in its place wherever it would be shown.
    const NAME: &'static str;
}

/// Text that belongs to a person. It has no `Display` and no `Serialize`, `Debug` shows only
/// the class, and the memory is cleared when it goes. What needs the text says
/// [`expose`](Personal::expose), which is easy to search for.
pub struct Personal<C>(Zeroizing<String>, PhantomData<fn() -> C>);

impl<C: Class> Personal<C> {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text), PhantomData)
    }

    /// The text itself: for the provider that needs it, for sealing and for indexing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<C: Class> fmt::Debug for Personal<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", C::NAME)
    }
}

impl<C> Clone for Personal<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<C> PartialEq for Personal<C> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<C> Eq for Personal<C> {}

impl<C> Hash for Personal<C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
