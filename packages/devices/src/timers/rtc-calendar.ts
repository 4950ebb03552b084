/**
 * The calendar of an MC146818: registers in BCD or binary, 12 or 24 hours, to and from seconds since 1970 in UTC.
 * Whatever bytes a guest writes make some time; nothing here throws.
 */

/** Indexes of the time registers. */
export const Clock = {
  seconds: 0x00,
  secondsAlarm: 0x01,
  minutes: 0x02,
  minutesAlarm: 0x03,
  hours: 0x04,
  hoursAlarm: 0x05,
  weekday: 0x06,
  day: 0x07,
  month: 0x08,
  year: 0x09,
  century: 0x32,
} as const

/** Bits of register B. */
const BINARY = 0x04
const HOURS_24 = 0x02
const PM = 0x80

function encode(value: number, b: number): number {
  return (b & BINARY) !== 0 ? value : (Math.floor(value / 10) << 4) | (value % 10)
}

function decode(value: number, b: number): number {
  return (b & BINARY) !== 0 ? value : (value >> 4) * 10 + (value & 15)
}

function encodeHours(hours: number, b: number): number {
  if ((b & HOURS_24) !== 0) return encode(hours, b)
  return encode(hours % 12 === 0 ? 12 : hours % 12, b) | (hours >= 12 ? PM : 0)
}

/** Hour of the day by a register. */
export function decodeHours(value: number, b: number): number {
  if ((b & HOURS_24) !== 0) return decode(value, b)
  return (decode(value & 0x7f, b) % 12) + ((value & PM) !== 0 ? 12 : 0)
}

/** Minute or second by a register. */
export function decodeSixty(value: number, b: number): number {
  return decode(value, b)
}

/** Writes the time registers for `unixSeconds`. `b` is register B. */
export function writeCalendar(registers: Uint8Array, unixSeconds: number, b: number): void {
  const date = new Date(unixSeconds * 1000)
  const year = date.getUTCFullYear()
  registers[Clock.seconds] = encode(date.getUTCSeconds(), b)
  registers[Clock.minutes] = encode(date.getUTCMinutes(), b)
  registers[Clock.hours] = encodeHours(date.getUTCHours(), b)
  registers[Clock.weekday] = encode(date.getUTCDay() + 1, b)
  registers[Clock.day] = encode(date.getUTCDate(), b)
  registers[Clock.month] = encode(date.getUTCMonth() + 1, b)
  registers[Clock.year] = encode(year % 100, b)
  registers[Clock.century] = encode(Math.floor(year / 100) % 100, b)
}

/** Seconds since 1970 by the time registers. */
export function readCalendar(registers: Uint8Array, b: number): number {
  const year = decode(registers[Clock.century]!, b) * 100 + decode(registers[Clock.year]!, b)
  const date = new Date(0)
  // Date.UTC would take years below 100 for those of the 20th century.
  date.setUTCFullYear(year, decode(registers[Clock.month]!, b) - 1, decode(registers[Clock.day]!, b))
  date.setUTCHours(
    decodeHours(registers[Clock.hours]!, b),
    decode(registers[Clock.minutes]!, b),
    decode(registers[Clock.seconds]!, b),
  )
  return Math.floor(date.getTime() / 1000)
}
