//! Types that cannot cross an API.

#![allow(unused_variables)]

use framex::prelude::*;

#[derive(Deserialize, Serialize)]
struct NoSchema;

#[derive(ToSchema)]
struct NoSerde {
    x: u32,
}

struct NotAnError;

#[derive(Default)]
struct P;

#[on_register(plugin = "p")]
impl P {
    #[on_request(func)]
    async fn argument(&self, model: NoSchema) {}

    #[on_request(func)]
    async fn nested(&self, models: Option<Vec<NoSchema>>) {}

    #[on_request(func)]
    async fn unreadable(&self, model: NoSerde) {}

    #[on_request(func)]
    async fn result(&self) -> Result<NoSchema> {
        Ok(NoSchema)
    }

    #[on_request(func)]
    async fn results(&self) -> Vec<NoSchema> {
        Vec::new()
    }

    #[on_request(func)]
    async fn unwritable(&self) -> NoSerde {
        NoSerde { x: 1 }
    }

    #[on_request(func)]
    async fn error(&self) -> Result<(), NotAnError> {
        Err(NotAnError)
    }

    #[on_request(func, stream)]
    fn items(&self) -> impl Stream<Item = NoSchema> {
        futures_util::stream::empty()
    }
}

fn main() {}
