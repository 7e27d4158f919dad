import com.android.apksig.ApkVerifier;
import java.io.File;

/** VerifyApk MIN_SDK APK: fails unless Android from MIN_SDK on takes the signature. */
class VerifyApk {
    public static void main(String[] arguments) throws Exception {
        var result =
                new ApkVerifier.Builder(new File(arguments[1]))
                        .setMinCheckedPlatformVersion(Integer.parseInt(arguments[0]))
                        .build()
                        .verify();
        result.getErrors().forEach(System.err::println);
        System.out.printf(
                "verified=%s v1=%s v2=%s v3=%s%n",
                result.isVerified(),
                result.isVerifiedUsingV1Scheme(),
                result.isVerifiedUsingV2Scheme(),
                result.isVerifiedUsingV3Scheme());
        if (!result.isVerified()) System.exit(1);
    }
}
