//! Two plugins that call each other: `orders` takes goods out of `stock`, and
//! `stock` asks `orders` how many were sold.
//!
//! ```text
//! cargo run --example two_plugins -- run
//! curl -d '{"item": "tea", "count": 2}' -H "content-type: application/json" \
//!     http://127.0.0.1:8080/api/v1/orders
//! curl http://127.0.0.1:8080/api/v1/stock/tea
//! ```
//!
//! Neither knows the other's Rust types, only the names of its APIs. So they
//! could as well be two crates of two teams.

use framex::prelude::*;

/// What is there.
mod stock {
    use std::collections::HashMap;
    use std::sync::{Mutex, PoisonError};

    use super::*;

    pub(super) struct Stock {
        items: Mutex<HashMap<String, u32>>,
    }

    #[derive(Serialize, ToSchema)]
    pub(super) struct Level {
        item: String,
        left: u32,
        sold: u32,
    }

    // Every API that a plugin calls is declared. A name that nobody provides
    // stops the start, with the nearest that there is.
    #[on_register(plugin = "stock", required_remote_apis = ["orders.Orders.sold"])]
    impl Stock {
        fn new() -> Self {
            let items = [("tea".to_owned(), 5), ("cake".to_owned(), 1)].into();
            let items = Mutex::new(items);
            Self { items }
        }

        /// How much of `item` is left, and how much was sold.
        #[on_request(get, "/stock/{item}")]
        async fn level(&self, ctx: &Context, item: String) -> Result<Level> {
            let left = self.left(&item)?;
            let sold = ctx
                .call_plugin_api("orders.Orders.sold", args! { item })
                .await?;
            Ok(Level { item, left, sold })
        }

        /// Takes `count` pieces of `item` out, and tells how many are left.
        ///
        /// `func`: other plugins call it, it has no route.
        #[on_request(func)]
        async fn take(&self, item: String, count: u32) -> Result<u32> {
            let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
            let left = items.get_mut(&item).ok_or_else(|| unknown(&item))?;
            // The error travels through `orders` to the client, status and all.
            *left = left.checked_sub(count).ok_or_else(|| {
                Error::conflict(format!("only {left} of `{item}` left")).with_code("out_of_stock")
            })?;
            Ok(*left)
        }

        // Methods without `#[on_request]` are the plugin's own.
        fn left(&self, item: &str) -> Result<u32> {
            let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
            items.get(item).copied().ok_or_else(|| unknown(item))
        }
    }

    fn unknown(item: &str) -> Error {
        Error::not_found(format!("there is no `{item}`"))
    }
}

/// Who buys what.
mod orders {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    #[derive(Default)]
    pub(super) struct Orders {
        orders: Mutex<Vec<Order>>,
    }

    #[derive(Clone, Deserialize, ToSchema)]
    pub(super) struct Order {
        /// What is wanted.
        item: String,
        /// How many pieces.
        count: u32,
    }

    #[derive(Serialize, ToSchema)]
    pub(super) struct Receipt {
        number: usize,
        left: u32,
    }

    #[on_register(plugin = "orders", required_remote_apis = ["stock.Stock.take"])]
    impl Orders {
        /// Orders goods.
        #[on_request(post, "/orders")]
        async fn order(&self, ctx: &Context, #[body] order: Order) -> Result<Receipt> {
            let Order { item, count } = &order;
            let left = ctx
                .call_plugin_api("stock.Stock.take", args! { item, count })
                .await?;
            let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            orders.push(order);
            let number = orders.len();
            Ok(Receipt { number, left })
        }

        /// How many pieces of `item` were ordered.
        #[on_request(func)]
        async fn sold(&self, item: String) -> u32 {
            let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            let of_item = orders.iter().filter(|order| order.item == item);
            of_item.map(|order| order.count).sum()
        }
    }
}

framex::main!(stock::Stock, orders::Orders);
