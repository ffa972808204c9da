// Reads one frame after another; GS1 codes come back with their GS signs.
import { prepareZXingModule, readBarcodes } from "/static/vendor/zxing/es/reader/index.js";

prepareZXingModule({ overrides: { locateFile: () => "/static/vendor/zxing/reader/zxing_reader.wasm" } });

onmessage = async ({ data }) => {
  const found = await readBarcodes(data.image, { formats: data.formats, tryHarder: true, textMode: "Plain", maxNumberOfSymbols: 1 });
  postMessage({ text: found[0]?.text ?? "" });
};
