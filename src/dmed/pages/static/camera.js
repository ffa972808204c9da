// The camera as a scanner: loaded on its key only, since the reader weighs almost a megabyte.
// Decoding runs in a worker, whose own policy allows WebAssembly; the page's policy does not.
const FORMATS = ["DataMatrix", "QRCode", "EAN13"];
const PAUSE_MS = 150;

export async function start(input) {
  const box = input.closest(".scan");
  if (box.querySelector("video")) { stop(box); return; }
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: 1280 } });
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.srcObject = stream;
  box.append(video);
  await video.play();
  const worker = new Worker("/pages/camera-worker.js", { type: "module" });
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  box.stopCamera = () => { stream.getTracks().forEach((track) => track.stop()); worker.terminate(); video.remove(); };
  const look = () => {
    if (!video.isConnected) return;
    pen.drawImage(video, 0, 0);
    const image = pen.getImageData(0, 0, canvas.width, canvas.height);
    worker.postMessage({ image, formats: FORMATS }, [image.data.buffer]);
  };
  worker.onmessage = ({ data }) => {
    if (!data.text) { setTimeout(look, PAUSE_MS); return; }
    input.value = data.text;
    stop(box);
    input.form.requestSubmit();
  };
  look();
}

function stop(box) { box.stopCamera?.(); }
