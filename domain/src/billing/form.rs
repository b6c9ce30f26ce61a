//! Stripe's request bodies: `application/x-www-form-urlencoded`, nested fields in brackets.

use url::form_urlencoded::{Serializer, parse};

/// A form that is being written.
pub struct Form(Serializer<'static, String>);

impl Default for Form {
    fn default() -> Self {
        Self(Serializer::new(String::new()))
    }
}

impl Form {
    /// With a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.0.append_pair(name, value.as_ref());
        self
    }

    /// With a field, unless there is nothing to say.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// With a whole number.
    #[must_use]
    pub fn with_number(self, name: &str, value: i64) -> Self {
        self.with(name, value.to_string())
    }

    /// With pairs under one name: `metadata[payment_id]=…`.
    #[must_use]
    pub fn with_pairs(self, name: &str, pairs: &[(&str, &str)]) -> Self {
        pairs.iter().fold(self, |form, (key, value)| form.with(&format!("{name}[{key}]"), value))
    }

    /// The text.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.0.finish()
    }
}

/// The fields of a form.
#[must_use]
pub fn read_form(text: &str) -> Vec<(String, String)> {
    parse(text.as_bytes()).into_owned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_escaped_and_come_back() {
        let form = Form::default()
            .with("mode", "payment")
            .with_number("line_items[0][quantity]", 1)
            .with_some("customer", None::<&str>)
            .with_pairs("metadata", &[("payment_id", "pay_1"), ("note", "a&b=c ü")])
            .finish();
        assert_eq!(
            form,
            "mode=payment&line_items%5B0%5D%5Bquantity%5D=1&metadata%5Bpayment_id%5D=pay_1&metadata%5Bnote%5D=a%26b%3Dc+%C3%BC"
        );
        assert_eq!(read_form(&form).last().unwrap(), &("metadata[note]".to_owned(), "a&b=c ü".to_owned()));
    }
}
