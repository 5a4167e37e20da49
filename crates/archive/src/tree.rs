//! The names of one archive as a tree, to see which of them meet.

use std::collections::HashMap;

use crate::name::fold;
use crate::{Code, Limits, Refusal};

/// Links followed from one link before it counts as a circle. Shared libraries have two (`.so` -> `.so.1` -> `.so.1.2`);
/// Linux gives up at 40.
const LINK_HOPS: usize = 8;

/// What a path is added as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    File,
    Directory,
    Link,
}

/// A link in the tree, to be given its target with [`Tree::set_target`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkId(usize);

#[derive(Debug)]
enum Child {
    File,
    /// Index into `Tree::directories`; whether a member of its own named it.
    Directory(usize, bool),
    /// Index into `Tree::links`.
    Link(usize),
}

/// A child and its spelling, where that is not the folded form under which it is found.
#[derive(Debug)]
struct Entry {
    child: Child,
    spelling: Option<Box<str>>,
}

/// All names seen so far. Every directory keeps its children under their folded segment, so the memory is that of the names.
#[derive(Debug)]
pub(crate) struct Tree {
    directories: Vec<HashMap<Box<str>, Entry>>,
    links: Vec<(String, Option<String>)>,
    implied: u64,
    names_bytes: u64,
    /// The directory of the last path added: archives list siblings together.
    last_parent: (String, usize),
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self {
            directories: vec![HashMap::new()],
            links: Vec::new(),
            implied: 0,
            names_bytes: 0,
            last_parent: (String::new(), 0),
        }
    }

    /// Adds a checked path. A directory may come again where `repeat` allows it: tars list the same one twice and nothing differs.
    ///
    /// Directories that only members below them imply are counted against [`Limits::members`] by themselves: a few deep names
    /// would otherwise make a tree without bound.
    pub(crate) fn add(
        &mut self,
        path: &str,
        node: Node,
        repeat: bool,
        limits: &Limits,
    ) -> Result<Option<LinkId>, Refusal> {
        self.names_bytes += path.len() as u64;
        if self.names_bytes > limits.names_bytes {
            return Err(Refusal::of(Code::NamesTooLarge, path));
        }
        let (parent_path, last) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.parent(path, parent_path, limits)?;
        let key = fold(last);
        match self.directories[parent].get_mut(key.as_ref()) {
            None => {}
            Some(entry) if entry.spelling.as_deref().unwrap_or(key.as_ref()) != last => {
                return Err(Refusal::of(Code::NameCollision, path));
            }
            Some(entry) => {
                return match (&mut entry.child, node) {
                    (Child::Directory(_, named), Node::Directory) if repeat || !*named => {
                        *named = true;
                        Ok(None)
                    }
                    (Child::Directory(_, false), Node::Link) => Err(Refusal::of(Code::BelowLink, path)),
                    (Child::Directory(..), Node::Directory)
                    | (Child::File, Node::File | Node::Link)
                    | (Child::Link(_), _) => Err(Refusal::of(Code::DuplicateName, path)),
                    (Child::Directory(..), Node::File | Node::Link) | (Child::File, Node::Directory) => {
                        Err(Refusal::of(Code::FileDirectoryClash, path))
                    }
                };
            }
        }
        let (child, link) = match node {
            Node::File => (Child::File, None),
            Node::Directory => {
                self.directories.push(HashMap::new());
                (Child::Directory(self.directories.len() - 1, true), None)
            }
            Node::Link => {
                self.links.push((path.to_owned(), None));
                let id = self.links.len() - 1;
                (Child::Link(id), Some(LinkId(id)))
            }
        };
        self.insert(parent, last, child);
        Ok(link)
    }

    fn parent(&mut self, path: &str, parent_path: &str, limits: &Limits) -> Result<usize, Refusal> {
        if self.last_parent.0 == parent_path {
            return Ok(self.last_parent.1);
        }
        let mut at = 0;
        for segment in parent_path.split('/').filter(|segment| !segment.is_empty()) {
            let key = fold(segment);
            at = match self.directories[at].get(key.as_ref()) {
                Some(entry) if entry.spelling.as_deref().unwrap_or(key.as_ref()) != segment => {
                    return Err(Refusal::of(Code::NameCollision, path));
                }
                Some(Entry { child: Child::Directory(id, _), .. }) => *id,
                Some(Entry { child: Child::File, .. }) => return Err(Refusal::of(Code::FileDirectoryClash, path)),
                Some(Entry { child: Child::Link(_), .. }) => return Err(Refusal::of(Code::BelowLink, path)),
                None => {
                    self.implied += 1;
                    if self.implied > limits.members {
                        return Err(Refusal::of(Code::TooManyMembers, path).detail("directories"));
                    }
                    self.directories.push(HashMap::new());
                    let id = self.directories.len() - 1;
                    self.insert(at, segment, Child::Directory(id, false));
                    id
                }
            };
        }
        self.last_parent = (parent_path.to_owned(), at);
        Ok(at)
    }

    fn insert(&mut self, parent: usize, segment: &str, child: Child) {
        let key = fold(segment);
        let spelling = (key != segment).then(|| segment.into());
        self.directories[parent].insert(key.into(), Entry { child, spelling });
    }

    /// Whether `path` is a file that was added, in that very spelling.
    pub(crate) fn is_file(&self, path: &str) -> bool {
        let mut at = 0;
        let mut segments = path.split('/').peekable();
        while let Some(segment) = segments.next() {
            let key = fold(segment);
            match self.directories[at].get(key.as_ref()) {
                Some(entry) if entry.spelling.as_deref().unwrap_or(key.as_ref()) != segment => return false,
                Some(Entry { child: Child::Directory(id, _), .. }) => at = *id,
                Some(Entry { child: Child::File, .. }) => return segments.peek().is_none(),
                _ => return false,
            }
        }
        false
    }

    /// Gives a link its target: a path from the root, "" for the root itself.
    pub(crate) fn set_target(&mut self, link: LinkId, target: String) {
        if let Some((_, slot)) = self.links.get_mut(link.0) {
            *slot = Some(target);
        }
    }

    /// Refuses circles of links. To be asked when every name is known.
    pub(crate) fn check_links(&self) -> Result<(), Refusal> {
        for (path, target) in &self.links {
            let mut next = target.clone();
            for hop in 0.. {
                let Some(place) = next else { break };
                if hop == LINK_HOPS {
                    return Err(Refusal::of(Code::LinkLoop, path));
                }
                next = self.follow(&place);
            }
        }
        Ok(())
    }

    /// The path with its first link replaced by that link's target; `None` when no link is on the way.
    fn follow(&self, path: &str) -> Option<String> {
        let mut at = 0;
        let mut rest = path;
        while !rest.is_empty() {
            let (segment, below) = rest.split_once('/').unwrap_or((rest, ""));
            match self.directories[at].get(fold(segment).as_ref())?.child {
                Child::File => return None,
                Child::Directory(id, _) => at = id,
                Child::Link(id) => {
                    let (_, target) = self.links.get(id)?;
                    let target = target.as_deref()?;
                    let parts = [target, below];
                    return Some(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"));
                }
            }
            rest = below;
        }
        None
    }
}
