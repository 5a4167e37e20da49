//! Which branches of which repositories are watched: `123456:main,123456:release/2`.

/// One watched branch. Repositories go by the number that GitHub gave them: names change hands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// GitHub's number of the repository.
    pub repository: u64,
    /// `main`.
    pub branch: String,
}

/// A list of routes cannot be read. It does not quote the list: a secret in the wrong place must not be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("item {item} {problem}; write REPOSITORY_ID:BRANCH, separated by commas, such as 123456:main")]
pub struct BadRoute {
    /// The place in the list, 1-based.
    pub item: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Route {
    /// Reads a list `REPOSITORY_ID:BRANCH,...`; a route that is there twice counts once, blanks around an item do not count.
    ///
    /// # Errors
    /// [`BadRoute`] when an item is none; so also when the list is empty.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, BadRoute> {
        let mut routes = Vec::new();
        for (index, item) in text.split(',').enumerate() {
            let route = Self::parse(item.trim()).map_err(|problem| BadRoute { item: index + 1, problem })?;
            if !routes.contains(&route) {
                routes.push(route);
            }
        }
        Ok(routes)
    }

    fn parse(item: &str) -> Result<Self, &'static str> {
        let (repository, branch) = item.split_once(':').ok_or("has no colon")?;
        let digits = !repository.is_empty() && repository.bytes().all(|c| c.is_ascii_digit());
        let number = repository.parse().ok().filter(|number| digits && *number > 0);
        let repository = number.ok_or("does not begin with the number of a repository")?;
        if branch.starts_with("refs/") {
            return Err("names a ref instead of a branch");
        }
        if !is_branch(branch) {
            return Err("does not end in the name of a branch");
        }
        Ok(Self { repository, branch: branch.to_owned() })
    }

    /// `refs/heads/main`.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }
}

/// The rules of `git check-ref-format --branch`.
fn is_branch(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let component = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !name.contains(forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !matches!(name, "@" | "HEAD")
        && name.split('/').all(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read() {
        let routes = Route::parse_list("123456:main, 123456:release/2.x ,7:main,123456:main").unwrap();
        let shown: Vec<_> = routes.iter().map(|route| (route.repository, route.reference())).collect();
        let expected = [(123_456, "refs/heads/main"), (123_456, "refs/heads/release/2.x"), (7, "refs/heads/main")];
        assert_eq!(shown, expected.map(|(repository, reference)| (repository, reference.to_owned())));
    }

    #[test]
    fn what_is_no_route_is_an_error_and_is_not_repeated() {
        for (text, item, problem) in [
            ("", 1, "has no colon"),
            (" ", 1, "has no colon"),
            ("123456", 1, "has no colon"),
            ("123456:main,", 2, "has no colon"),
            (":main", 1, "number"),
            ("0:main", 1, "number"),
            ("+1:main", 1, "number"),
            ("-1:main", 1, "number"),
            ("1 :main", 1, "number"),
            ("corp/requests:main", 1, "number"),
            ("18446744073709551616:main", 1, "number"),
            ("1:main,1:refs/heads/main", 2, "a ref instead"),
            ("1:", 1, "name of a branch"),
            ("1:*", 1, "name of a branch"),
            ("1:a b", 1, "name of a branch"),
            ("1:a\u{7f}", 1, "name of a branch"),
            ("1:a..b", 1, "name of a branch"),
            ("1:/a", 1, "name of a branch"),
            ("1:a/", 1, "name of a branch"),
            ("1:a//b", 1, "name of a branch"),
            ("1:a/.b", 1, "name of a branch"),
            ("1:a.lock/b", 1, "name of a branch"),
            ("1:a.", 1, "name of a branch"),
            ("1:-a", 1, "name of a branch"),
            ("1:a@{b", 1, "name of a branch"),
            ("1:HEAD", 1, "name of a branch"),
            ("1:a:b", 1, "name of a branch"),
        ] {
            let error = Route::parse_list(text).unwrap_err();
            assert!(error.item == item && error.problem.contains(problem), "{text}: {error}");
        }
        assert_eq!(Route::parse_list("18446744073709551615:main").unwrap()[0].repository, u64::MAX);
        let secret = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
        assert!(!Route::parse_list(secret).unwrap_err().to_string().contains(secret));
    }
}
