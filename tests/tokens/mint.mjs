// Signs what mint.py asks for with npm's jose: takes {algorithms, tokens: [{alg, claims}]}, gives {keys, tokens}.
import { SignJWT, exportJWK, generateKeyPair } from "jose";
import { text } from "node:stream/consumers";

const { algorithms, tokens } = JSON.parse(await text(process.stdin));
const pairs = {};
for (const alg of algorithms) pairs[alg] = await generateKeyPair(alg, { extractable: true });
const kid = (alg) => `jose-${alg}`;
const key = async (alg) => ({ ...(await exportJWK(pairs[alg].publicKey)), kid: kid(alg), alg, use: "sig" });
const sign = ({ alg, claims }) => new SignJWT(claims).setProtectedHeader({ alg, kid: kid(alg) }).sign(pairs[alg].privateKey);
console.log(JSON.stringify({ keys: await Promise.all(algorithms.map(key)), tokens: await Promise.all(tokens.map(sign)) }));
