/** What differs from run to run becomes what the documentation shows, in the same width where tables need it. */
export function maskedScreen(screen: string): string {
  return screen
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '')
    .join('\n')
    .replaceAll(/\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d UTC/g, 'Mon, 30 Apr 2018 18:45:30 UTC')
    .replaceAll(/\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d/g, '2018/04/30 21:14:06')
    .replaceAll(/(Time|Time ran): [\d.]+m?s/g, '$1: 33.375ms')
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '9b1bd278-e645-4eec-bffb-0587ad84534e')
    .replaceAll(/Activation code: \S+/g, 'Activation code: (code)')
    .replaceAll(/\S+@\S+ \/\S*\/triggerfs-client\w+ /g, 'hp@localpc /tmp/triggerfs-client403096611 ')
    .replaceAll(/^total \d+$/gm, 'total 512')
    .replaceAll(/^(-[rwx-]{9}).* demotrigger$/gm, '$1 1 hp hp 0 Apr 30 20:53 demotrigger')
    .replaceAll(/\] .* load average: .*$/gm, '] 21:14:07 up 8:26, 7 users, load average: 0.61, 0.60, 0.52')
    .replaceAll(/\(v\d+\.\d+\.\d+\)/g, '(v1.0.0)')
    .concat('\n');
}
