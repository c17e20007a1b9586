//! The attributes of plugins.
use proc_macro::TokenStream;
/// stub
#[proc_macro_attribute]
pub fn on_register(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
/// stub
#[proc_macro_attribute]
pub fn on_request(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
/// stub
#[proc_macro_attribute]
pub fn remote(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}
