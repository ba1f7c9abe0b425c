//! The key of a request.

use std::hash::{Hash, Hasher};

/// Reads the key of a request: the value by which requests share a limit.
///
/// Implemented by functions `Fn(&Request) -> Option<K>` with `K: Hash`, and by tuples of two to
/// four keys, which have a key if each of them has one.
///
/// An implementation feeds the key to a hasher and keeps nothing of it, so a key of any length
/// takes no memory and may be borrowed from the request. The hash has a random seed.
///
/// ```
/// use std::hash::{Hash, Hasher};
/// use tower_floodgate::keyed::Key;
///
/// struct Order { customer: Option<u64> }
///
/// /// The customer of an order.
/// struct Customer;
///
/// impl Key<Order> for Customer {
///     fn hash_key<H: Hasher>(&self, order: &Order, state: &mut H) -> bool {
///         match order.customer {
///             Some(customer) => { customer.hash(state); true }
///             None => false,
///         }
///     }
/// }
/// ```
pub trait Key<Request> {
    /// Feeds the key of `request` to `state`, and returns true. Returns false if the request has no
    /// key; what was fed until then is ignored.
    ///
    /// A handle finds the key by the same value: see the page of each key for its type.
    fn hash_key<H: Hasher>(&self, request: &Request, state: &mut H) -> bool;

    /// Returns the key as text, for the list of the greatest consumers.
    ///
    /// Called at most for keys that may enter that list, so it may allocate. `None`, the default,
    /// shows a number in its place. A secret returns `None`.
    fn label(&self, request: &Request) -> Option<String> {
        let _ = request;
        None
    }
}

impl<F, Request, K> Key<Request> for F
where
    F: Fn(&Request) -> Option<K>,
    K: Hash,
{
    #[inline]
    fn hash_key<H: Hasher>(&self, request: &Request, state: &mut H) -> bool {
        match self(request) {
            Some(key) => {
                key.hash(state);
                true
            }
            None => false,
        }
    }
}

/// Implements the keys of several keys together, which a handle finds by a tuple of their values.
macro_rules! together {
    ($doc:literal, $($key:ident $index:tt),+) => {
        #[doc = $doc]
        impl<Request, $($key: Key<Request>),+> Key<Request> for ($($key,)+) {
            fn hash_key<H: Hasher>(&self, request: &Request, state: &mut H) -> bool {
                $(self.$index.hash_key(request, state))&&+
            }

            fn label(&self, request: &Request) -> Option<String> {
                Some([$(self.$index.label(request)?),+].join(" "))
            }
        }
    };
}

together!("Two keys together.", A 0, B 1);
together!("Three keys together.", A 0, B 1, C 2);
together!("Four keys together.", A 0, B 1, C 2, D 3);

/// The key of all requests: one limit for all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everyone;

impl<Request> Key<Request> for Everyone {
    fn hash_key<H: Hasher>(&self, _: &Request, _: &mut H) -> bool {
        true
    }

    fn label(&self, _: &Request) -> Option<String> {
        Some("all".to_owned())
    }
}
