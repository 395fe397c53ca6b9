// How the page's elements are made and told their text. What comes from the server is only ever text here:
// nothing on this page parses HTML.

/** A new element. Attributes that are null are left out; children are elements or text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(attribute, value);
  }
  made.append(...children);
  return made;
}

/** The element of this id, which index.html has. */
export const byId = (id) => document.getElementById(id);

/** Sets a text only where it is another one, so that nobody is told the same twice. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
