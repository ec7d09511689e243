// Shows openapi.json as a page and sends requests from it. Texts are only ever set as text.

const document_ = await (await fetch('openapi.json')).json()
const operations = document.getElementById('operations')

document.getElementById('title').textContent = `${document_.info.title} ${document_.info.version}`
document.getElementById('description').textContent = document_.info.description ?? ''

const groups = new Map()
for (const [path, methods] of Object.entries(document_.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const tag = operation.tags?.[0] ?? 'other'
    groups.set(tag, [...(groups.get(tag) ?? []), { path, method, ...operation }])
  }
}
for (const [tag, members] of groups) {
  operations.append(element('h2', {}, tag), ...members.map(showOperation))
}
operations.removeAttribute('aria-busy')

/** One operation: what it is, what it takes, what it answers, and a form that sends it. */
function showOperation (operation) {
  const summary = element('summary', {},
    element('span', { className: 'method' }, operation.method.toUpperCase()),
    element('code', {}, operation.path))
  summary.dataset.summary = operation.summary ?? ''
  const parts = [summary]
  if (operation.description) parts.push(element('p', {}, operation.description))
  parts.push(showRequest(operation), element('dl', {}, ...showAnswers(operation.responses)))
  return element('details', {}, ...parts)
}

function showAnswers (responses) {
  return Object.entries(responses).flatMap(([status, response]) => {
    const schema = response.content?.['application/json']?.schema
    const name = schema?.$ref ? `${schema.$ref.split('/').at(-1)}: ` : ''
    return [element('dt', {}, status), element('dd', {}, name + response.description)]
  })
}

function showRequest (operation) {
  const parameters = operation.parameters ?? []
  const fields = parameters.map(parameter => element('label', {},
    element('span', {}, parameter.name, parameter.required ? '' : ' (may be left out)'),
    element('input', { name: parameter.name, required: parameter.required ?? false }),
    element('small', {}, parameter.description ?? '')))
  const schema = operation.requestBody?.content['application/json']?.schema
  if (schema) {
    const value = JSON.stringify(example(schema), null, 2)
    fields.push(element('label', {}, 'Body',
      element('textarea', { name: '\u0000body', rows: 5, value })))
  }
  const output = element('pre', { hidden: true })
  output.setAttribute('aria-live', 'polite')
  const form = element('form', {}, ...fields, element('button', {}, 'Send'), output)
  form.addEventListener('submit', event => {
    event.preventDefault()
    output.hidden = false
    output.textContent = '…'
    send(operation, parameters, new FormData(form)).then(
      text => { output.textContent = text },
      error => { output.textContent = String(error) })
  })
  return form
}

/** Sends the request and gives status and body as a text. */
async function send (operation, parameters, data) {
  let path = operation.path.slice(1)
  const query = new URLSearchParams()
  for (const { name, in: place } of parameters) {
    const value = data.get(name)
    if (place === 'path') path = path.replace(`{${name}}`, () => encodeURIComponent(value))
    else if (value !== '') query.set(name, value)
  }
  const body = data.get('\u0000body')
  const response = await fetch(query.size ? `${path}?${query}` : path, {
    method: operation.method.toUpperCase(),
    ...(body === null ? {} : { body, headers: { 'content-type': 'application/json' } })
  })
  const text = await response.text()
  const json = response.headers.get('content-type')?.startsWith('application/json')
  const shown = json ? JSON.stringify(JSON.parse(text), null, 2) : text
  return `${response.status} ${response.statusText}\n\n${shown}`
}

/** A value that fits a schema, to start from. */
function example (schema) {
  if (schema.$ref) return example(document_.components.schemas[schema.$ref.split('/').at(-1)])
  if (schema.anyOf) return example(schema.anyOf[0])
  if (schema.type !== 'object') return schema.default ?? (schema.type === 'integer' ? 1 : 'text')
  return Object.fromEntries(
    Object.entries(schema.properties ?? {}).map(([name, each]) => [name, example(each)]))
}

function element (tag, properties, ...children) {
  const created = Object.assign(document.createElement(tag), properties)
  created.append(...children)
  return created
}
