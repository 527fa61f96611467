/** A setting as defense.yaml, as `dynanoise` reads it (docs/deploy.md). */

/** A number as YAML that every reader takes for a float. */
function float(value) {
  const text = String(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

/** @param {{ s0: number, lambda: number, T: number }} setting */
export function yamlOf(setting) {
  return [
    "# How answers are defended (dynanoise). Holds no secret: noise.key says where it is.",
    "version: 1",
    "defense:",
    "  name: dynanoise",
    `  base_variance: ${float(setting.s0)}`,
    `  lambda_scale: ${float(setting.lambda)}`,
    `  temperature: ${float(setting.T)}`,
    "  samples: 1",
    "  sensitivity: entropy",
    "  keep_label: false",
    "class_axis: -1",
    "input: logits",
    "noise:",
    "  name: fresh",
    "",
  ].join("\n");
}
