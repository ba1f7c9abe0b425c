use std::{
    any::type_name,
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
};

use super::shown::shown;
use crate::keyed::Key;

/// An extension of the request, which an outer layer has inserted.
///
/// A request without the extension has no key. A handle finds the key by a `T`.
///
/// ```
/// use http::Request;
/// use tower_floodgate::keyed::{Extension, Key};
///
/// #[derive(Clone, Hash)]
/// struct Tenant(String);
///
/// let key = Extension::<Tenant>::new().label_by(|tenant| tenant.0.clone());
/// let request = Request::builder().extension(Tenant("acme".to_owned())).body(()).unwrap();
/// assert_eq!(key.label(&request).as_deref(), Some("acme"));
/// ```
pub struct Extension<T> {
    label: Option<fn(&T) -> String>,
    of: PhantomData<fn(&T)>,
}

impl<T: Hash + Send + Sync + 'static> Extension<T> {
    /// Creates the key of the extension of type `T`. It has no label.
    #[must_use]
    pub const fn new() -> Self {
        Self { label: None, of: PhantomData }
    }

    /// Shows the key as `label` writes it, up to 100 characters.
    #[must_use]
    pub fn label_by(mut self, label: fn(&T) -> String) -> Self {
        self.label = Some(label);
        self
    }
}

impl<T: Hash + Send + Sync + 'static> Default for Extension<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Extension<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Extension<T> {}

impl<T> fmt::Debug for Extension<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extension").field("of", &type_name::<T>()).finish_non_exhaustive()
    }
}

impl<T: Hash + Send + Sync + 'static, B> Key<http::Request<B>> for Extension<T> {
    fn hash_key<H: Hasher>(&self, request: &http::Request<B>, state: &mut H) -> bool {
        let value = request.extensions().get::<T>();
        value.inspect(|value| value.hash(state)).is_some()
    }

    fn label(&self, request: &http::Request<B>) -> Option<String> {
        let label = self.label?;
        request.extensions().get::<T>().map(|value| shown(&label(value)))
    }
}
