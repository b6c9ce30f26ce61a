//! The route table: one `matchit` tree per method, built once per isolate.

use matchit::Router;

use super::route::{Method, Route};

/// What the table says of a method and a path.
#[derive(Debug)]
pub enum Found {
    /// A route and its path parameters, still percent-encoded.
    Route(&'static Route, Vec<(String, String)>),
    /// The path exists with the methods of these routes only.
    Others(Vec<&'static Route>),
    /// No such path.
    Nothing,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method.name(), self.path)
    }
}

/// The table.
pub struct RouteTable {
    trees: Vec<(Method, Router<&'static Route>)>,
}

impl RouteTable {
    /// Builds it.
    ///
    /// # Errors
    /// When two routes claim one path. A native test builds it from `api::ALL`, so a clash never ships.
    pub fn build(lists: &[&'static [Route]]) -> Result<Self, String> {
        let mut trees: Vec<_> = Method::ALL.into_iter().map(|method| (method, Router::new())).collect();
        for route in lists.iter().copied().flatten() {
            for (method, tree) in &mut trees {
                if *method == route.method {
                    tree.insert(route.path, route).map_err(|e| format!("{route:?}: {e}"))?;
                }
            }
        }
        Ok(Self { trees })
    }

    /// Looks up a method and a path.
    #[must_use]
    pub fn find(&self, method: &str, path: &str) -> Found {
        let wanted = Method::parse(method);
        for (method, tree) in &self.trees {
            if wanted == Some(*method)
                && let Ok(hit) = tree.at(path)
            {
                let params = hit.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                return Found::Route(hit.value, params);
            }
        }
        let others: Vec<_> = self.trees.iter().filter_map(|(_, tree)| Some(*tree.at(path).ok()?.value)).collect();
        if others.is_empty() { Found::Nothing } else { Found::Others(others) }
    }
}
