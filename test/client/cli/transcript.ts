/** A screen or a block of a page with what differs from run to run replaced, and tables without their widths. */
export function normalTranscript(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '')
    .map((line) => (/ \| | \|$/.test(line) ? line.replaceAll(/ +/g, ' ').trim() : line))
    .map((line) => (/^-+(\+-+)+$/.test(line) ? line.replaceAll(/-+/g, '-') : line))
    .join('\n')
    .replaceAll(/\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d UTC/g, '<time>')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)/g, '<time>')
    .replaceAll(/\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d/g, '<time>')
    .replaceAll(/\b\d+(\.\d+)?m?s\b/g, '<duration>')
    .replaceAll(/^(durationMs +)[\d.]+$/gm, '$1<number>')
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<id>')
    .replaceAll(/\(v\d+\.\d+\.\d+\)/g, '(v<version>)')
    .replaceAll(/commit \d+/g, 'commit <number>');
}
