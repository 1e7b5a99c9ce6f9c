/** Names of the assertions of podman's `test/apiv2`, without what differs from run to run. */

/** Of `[file]` and what follows it: `GET path : .field`, or the suite's own words. */
export function caseName(context: string, rest: string): string {
  return `${context} ${steady(withoutValue(rest.replace(/ # skip.*/, '')))}`
}

/** A recorded name as it would be given today. Names written before 2026-11-28 tell the values that were found. */
export function currentName(recorded: string): string {
  const [, context = '', rest = '', count = ''] = /^(\[[^\]]+\]) (.*?)( \(\d+\))?$/s.exec(recorded) ?? []
  return context === '' ? recorded : `${caseName(context, rest)}${count}`
}

/** A passing line tells the value that it found, a failing one does not. */
function withoutValue(title: string): string {
  if (/^(GET|POST|PUT|DELETE|HEAD) /.test(title)) return title.replace(/( : [^=~]+?)(=.*| \('.*)$/s, '$1')
  return title.replace(/(=| \().*$/s, '')
}

/** Without what differs from run to run. */
export function steady(text: string): string {
  return text
    .replace(/(sha256:)?[0-9a-f]{64}/g, 'ID')
    .replace(/\b[0-9a-f]{12}\b/g, 'ID')
    .replace(/\b\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)/g, 'TIME')
    .replace(/\b1[67]\d{8}(\.\d+)?\b/g, 'TIME')
    .replace(/localhost(:|%3A)\d{4}/g, 'localhost$1PORT')
    .replace(/(podman-apiv2-test\.\w+|test-apiv2\.tmp)\.\w+/g, '$1.X')
    .replace(/(ArchiveTestingCtr|specgen|[up]=)\w+/g, '$1')
    .replace(/("(?:username|password)":")[up]\w{7}"/g, '$1X"')
}
