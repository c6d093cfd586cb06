import java.security.Key;
import java.security.KeyPair;
import java.security.MessageDigest;
import java.security.Provider;
import java.security.Security;
import java.security.spec.MGF1ParameterSpec;
import java.util.Arrays;
import java.util.Random;
import javax.crypto.Cipher;
import javax.crypto.KeyGenerator;
import javax.crypto.Mac;
import javax.crypto.SecretKey;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import javax.crypto.spec.SecretKeySpec;

/** Decryption with the token's RSA keys, and every cipher, MAC and hash of the provider against Java's own. */
final class Ciphers {
    static final Random random = new Random(2);

    public static void main(String[] args) throws Exception {
        Token token = new Token(args[0], args[1]);
        for (String alias : new String[] {"rsa", "rsa3072"}) {
            KeyPair pair = token.pair(alias);
            for (int round = 0; round < 10; round++) {
                decrypt(token, pair);
                oaep(token, pair, round % 2 == 0 ? "SHA-1" : "SHA-256");
                unwrap(token, pair);
            }
            System.out.println("RSA " + alias);
        }
        for (String algorithm : token.algorithms("Cipher")) {
            if (!algorithm.startsWith("AES")) continue;
            for (int bits : bits(algorithm)) symmetric(token, algorithm, bits);
            System.out.println(algorithm);
        }
        for (String algorithm : token.algorithms("Mac")) mac(token, algorithm);
        for (String algorithm : token.algorithms("MessageDigest")) digest(token, algorithm);
        for (String algorithm : token.algorithms("KeyGenerator")) {
            // Every generic secret counts as a key for HMAC with MD5, which the module does not have.
            if (algorithm.equals("AES") || token.provider.getService("Mac", algorithm) != null) generate(token, algorithm);
        }
    }

    static Cipher cipher(String algorithm, Provider by, int mode, Key key) throws Exception {
        Cipher cipher = by == null ? Cipher.getInstance(algorithm) : Cipher.getInstance(algorithm, by);
        cipher.init(mode, key);
        return cipher;
    }

    static void same(byte[] wanted, byte[] got, String what) {
        Token.check(Arrays.equals(wanted, got), what + " differs");
    }

    static byte[] bytes(int length) {
        byte[] bytes = new byte[length];
        random.nextBytes(bytes);
        return bytes;
    }

    static void decrypt(Token token, KeyPair pair) throws Exception {
        String algorithm = "RSA/ECB/PKCS1Padding";
        byte[] plain = bytes(1 + random.nextInt(200));
        for (Provider by : new Provider[] {Security.getProvider("SunJCE"), token.provider}) {
            byte[] sealed = cipher(algorithm, by, Cipher.ENCRYPT_MODE, pair.getPublic()).doFinal(plain);
            Cipher opening = cipher(algorithm, token.provider, Cipher.DECRYPT_MODE, pair.getPrivate());
            same(plain, opening.doFinal(sealed), algorithm);
        }
    }

    /** SunPKCS11 knows no OAEP; its NoPadding does the private part and leaves the padding to the program. */
    static void oaep(Token token, KeyPair pair, String hash) throws Exception {
        byte[] plain = bytes(random.nextInt(100));
        Cipher sealing = Cipher.getInstance("RSA/ECB/OAEPPadding");
        MGF1ParameterSpec mask = new MGF1ParameterSpec(hash);
        OAEPParameterSpec parameters = new OAEPParameterSpec(hash, "MGF1", mask, PSource.PSpecified.DEFAULT);
        sealing.init(Cipher.ENCRYPT_MODE, pair.getPublic(), parameters);
        byte[] sealed = sealing.doFinal(plain);
        byte[] padded = cipher("RSA/ECB/NoPadding", token.provider, Cipher.DECRYPT_MODE, pair.getPrivate()).doFinal(sealed);
        Token.check(padded.length == sealed.length && padded[0] == 0, "the padded block has its full length");
        same(plain, unpad(padded, hash), "OAEP");
    }

    /** RFC 8017, 7.1.2, step 3. */
    static byte[] unpad(byte[] padded, String hash) throws Exception {
        int length = MessageDigest.getInstance(hash).getDigestLength();
        byte[] seed = Arrays.copyOfRange(padded, 1, 1 + length);
        byte[] block = Arrays.copyOfRange(padded, 1 + length, padded.length);
        mask(seed, block, hash);
        mask(block, seed, hash);
        int at = length;
        while (block[at] == 0) at++;
        Token.check(block[at] == 1, "OAEP padding");
        return Arrays.copyOfRange(block, at + 1, block.length);
    }

    /** MGF1: changes `target` by what `seed` gives. */
    static void mask(byte[] target, byte[] seed, String hash) throws Exception {
        MessageDigest digest = MessageDigest.getInstance(hash);
        for (int counter = 0, at = 0; at < target.length; counter++) {
            digest.update(seed);
            digest.update(new byte[] {0, 0, 0, (byte) counter});
            for (byte each : digest.digest()) if (at < target.length) target[at++] ^= each;
        }
    }

    /** An AES key that comes wrapped stays on the token, and is the key that was sent. */
    static void unwrap(Token token, KeyPair pair) throws Exception {
        SecretKey sent = new SecretKeySpec(bytes(32), "AES");
        String algorithm = "RSA/ECB/PKCS1Padding";
        byte[] wrapped = cipher(algorithm, Security.getProvider("SunJCE"), Cipher.WRAP_MODE, pair.getPublic()).wrap(sent);
        Key key = cipher(algorithm, token.provider, Cipher.UNWRAP_MODE, pair.getPrivate()).unwrap(wrapped, "AES", Cipher.SECRET_KEY);
        byte[] plain = bytes(64);
        byte[] sealed = cipher("AES/ECB/NoPadding", null, Cipher.ENCRYPT_MODE, sent).doFinal(plain);
        same(plain, cipher("AES/ECB/NoPadding", token.provider, Cipher.DECRYPT_MODE, key).doFinal(sealed), "an unwrapped key");
    }

    static int[] bits(String algorithm) {
        return algorithm.startsWith("AES_") ? new int[] {Integer.parseInt(algorithm.substring(4, 7))} : new int[] {128, 192, 256};
    }

    static void symmetric(Token token, String algorithm, int bits) throws Exception {
        SecretKey key = new SecretKeySpec(bytes(bits / 8), "AES");
        Provider java = Security.getProvider("SunJCE"), ours = token.provider;
        boolean isGcm = algorithm.contains("GCM");
        for (int round = 0; round < 20; round++) {
            // Whole blocks where nothing pads; else any length, the empty one first.
            byte[] plain = bytes(algorithm.endsWith("NoPadding") && !isGcm ? 16 * round : 37 * round);
            for (Provider[] way : new Provider[][] {{java, ours}, {ours, java}, {ours, ours}}) {
                Cipher sealing = cipher(algorithm, way[0], Cipher.ENCRYPT_MODE, key);
                if (isGcm) sealing.updateAAD("header".getBytes());
                // JDK 17's GCM forgets the last part of data that came in several.
                byte[] sealed = isGcm ? sealing.doFinal(plain) : inParts(sealing, plain);
                Cipher opening = Cipher.getInstance(algorithm, way[1]);
                opening.init(Cipher.DECRYPT_MODE, key, sealing.getParameters());
                if (isGcm) opening.updateAAD("header".getBytes());
                byte[] opened = isGcm ? opening.doFinal(sealed) : inParts(opening, sealed);
                same(plain, opened, algorithm + " " + bits + ", " + plain.length + " bytes");
            }
        }
    }

    static byte[] inParts(Cipher cipher, byte[] data) throws Exception {
        int first = data.length == 0 ? 0 : random.nextInt(data.length);
        byte[] one = cipher.update(data, 0, first), rest = cipher.doFinal(data, first, data.length - first);
        if (one == null) return rest;
        byte[] all = Arrays.copyOf(one, one.length + rest.length);
        System.arraycopy(rest, 0, all, one.length, rest.length);
        return all;
    }

    static void mac(Token token, String algorithm) throws Exception {
        Mac ours = Mac.getInstance(algorithm, token.provider), java = Mac.getInstance(algorithm, "SunJCE");
        for (int round = 0; round < 20; round++) {
            SecretKey key = new SecretKeySpec(bytes(16 + 3 * round), algorithm);
            byte[] data = bytes(50 * round);
            ours.init(key);
            java.init(key);
            same(java.doFinal(data), ours.doFinal(data), algorithm);
        }
        System.out.println(algorithm);
    }

    static void digest(Token token, String algorithm) throws Exception {
        MessageDigest ours = MessageDigest.getInstance(algorithm, token.provider);
        MessageDigest java = MessageDigest.getInstance(algorithm, "SUN");
        for (int round = 0; round < 50; round++) {
            byte[] data = bytes(91 * round);
            same(java.digest(data), ours.digest(data), algorithm);
            if (algorithm.startsWith("SHA3")) continue; // the state of SHA-3 cannot be saved, so not cloned
            ours.update(data);
            MessageDigest copy = (MessageDigest) ours.clone();
            same(copy.digest(), ours.digest(), algorithm + " cloned");
        }
        System.out.println(algorithm);
    }

    /** A key made on the token: its value is never Java's to see, and it works. */
    static void generate(Token token, String algorithm) throws Exception {
        SecretKey key = KeyGenerator.getInstance(algorithm, token.provider).generateKey();
        Token.check(key.getEncoded() == null, algorithm + ": a generated key shows its value");
        byte[] data = bytes(48);
        if (algorithm.equals("AES")) {
            byte[] sealed = cipher("AES/ECB/NoPadding", token.provider, Cipher.ENCRYPT_MODE, key).doFinal(data);
            same(data, cipher("AES/ECB/NoPadding", token.provider, Cipher.DECRYPT_MODE, key).doFinal(sealed), "a generated key");
        } else {
            Mac mac = Mac.getInstance(algorithm, token.provider);
            mac.init(key);
            byte[] tag = mac.doFinal(data);
            same(tag, mac.doFinal(data), algorithm);
            Token.check(!Arrays.equals(tag, mac.doFinal(bytes(48))), "two MACs are the same");
        }
        System.out.println("new key for " + algorithm);
    }
}
