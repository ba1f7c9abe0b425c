//! Implementations of a key for the types of requests.

/// Implements [`Key`](crate::keyed::Key) for a key that reads only headers, by its methods `feed`
/// and `show`.
macro_rules! key_of_headers {
    ($key:ty) => {
        impl<B> crate::keyed::Key<http::Request<B>> for $key {
            fn hash_key<H: Hasher>(&self, request: &http::Request<B>, state: &mut H) -> bool {
                self.feed(request.headers(), state)
            }

            fn label(&self, request: &http::Request<B>) -> Option<String> {
                self.show(request.headers())
            }
        }

        #[cfg(feature = "reqwest")]
        impl crate::keyed::Key<reqwest::Request> for $key {
            fn hash_key<H: Hasher>(&self, request: &reqwest::Request, state: &mut H) -> bool {
                self.feed(request.headers(), state)
            }

            fn label(&self, request: &reqwest::Request) -> Option<String> {
                self.show(request.headers())
            }
        }
    };
}

pub(super) use key_of_headers;
