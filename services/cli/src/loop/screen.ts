import type { Io } from "../io.ts";

/** The terminal's second screen, redrawn in place; the first one comes back as it was. */
export interface Screen {
  draw(lines: readonly string[]): void;
  close(): void;
}

const ENTER = "\u001b[?1049h\u001b[?25l\u001b[?7l";
const LEAVE = "\u001b[?7h\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const CLEAR_LINE = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";

export function openScreen(io: Io): Screen {
  let open = true;
  const close = (): void => {
    if (!open) return;
    open = false;
    process.off("exit", close);
    io.write(LEAVE);
  };
  // However the process ends, the terminal must be usable.
  process.on("exit", close);
  io.write(ENTER);
  return {
    draw: (lines) => {
      if (!open) return;
      const shown = lines.slice(0, Math.max(1, io.rows() - 1));
      io.write(HOME + shown.map((line) => line + CLEAR_LINE).join("\r\n") + CLEAR_BELOW);
    },
    close,
  };
}
