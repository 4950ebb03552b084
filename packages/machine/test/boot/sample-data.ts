// Deterministic data of the kinds that kernels are made of, and the same data packed by the reference tools
// (xz 5.4.1, zstd 1.5.4, lz4 1.9.4). The packed forms are fixtures because these tools are not on every machine.

/** 8 KiB: "calls" to a few targets with zeros, text and noise between them. */
export function codeLikeBytes(): Uint8Array {
  const bytes = new Uint8Array(8 * 1024)
  let seed = 0x12345678
  const next = (): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return seed >>> 16
  }
  const text = new TextEncoder().encode('the quick brown fox jumps over the lazy dog ')
  let at = 0
  while (at + 64 < bytes.length) {
    const kind = next() % 8
    if (kind < 3) {
      // E8 or E9 with a displacement to one of four targets
      bytes[at] = 0xe8 + (next() & 1)
      const displacement = ((next() & 3) * 0x1234 - at - 5) | 0
      new DataView(bytes.buffer).setInt32(at + 1, displacement, true)
      at += 5
    } else if (kind === 3) {
      // opcode bytes within displacements, which the x86 filter must tell apart
      bytes.set([0xe8, 0xe8, 0x00, 0xe9, 0xff, 0xe8, 0xff, 0xff, 0x00, 0x00, 0xe9, 0x00], at)
      at += 12
    } else if (kind === 4) {
      bytes.set(text, at)
      at += text.length
    } else if (kind === 5) at += 1 + (next() % 32)
    else if (kind === 6) {
      bytes[at++] = next() & 3
      bytes[at++] = 0x48
    } else {
      bytes.set(bytes.subarray(Math.max(0, at - 300), Math.max(0, at - 300) + 24), at)
      at += 24
    }
  }
  return bytes
}

/** `xz --check=crc32 --x86 --lzma2=preset=9e` */
export const xzKernel: string =
  '/Td6WFoAAAFpIt42AgEEACEBHACHbtrl4B//BgFdAHSM/kAL9YbyhL7qA9mtOqp5PCso/tHZqfflTuwYBF2if3eRUEdCywAPX/0X' +
  'kh9KxJiVg2LjdF43s7xiQjp5mCXxx3LVMsM96jnZjG3uFJDS0Z5phctVQOip7cac9aVKjbNEKFsVDKBqXSu/aNeGFAzAlThnL7Jx' +
  'M0o+FNGbJNZ8i8wXeRHvoGXKMlu3j7D7X+V33ZRF5eF0abTfiAQHMxONzRFzk03LFQ3s8AVH2Sp87njy0gpZ8guBPVR/+u71T2NK' +
  '/k03A+3NXAlKmihAovB9/Y3La9a/IyeajyqchoV04nNjvmZaFtqAIEyoryhY1uOzo5SJb6MyYaHBIxRw0Ngwe9KvHtwpU6JhyKtj' +
  'JHWLijQy3Dt+5N2jxIN2uAiTDerfBYVgazNAX0cKG3DY8+NJR/uL4gWgJehIg9wNtB1ipnvOyZN4cGmVhS62MMrP+5QXwyc3YpqP' +
  'nDyonEEXfjY5swSrNJD9hHE0h0fw8q4Ee8/IGdTaiYGqJPQRpaIf8j/QwdizBvmMfoVk1fYgs7Mqhz2/CEFaMdQMqS617/1WCkmM' +
  'UeNmDLHrFP9qL/vXiO1y7r8dGmYNblXtVmfwfNqBTJHwuQ2SCEChQT7mBN1OTOaHzER8krE6MmCNu7GyxmjAKPZzXvIefwWSRypf' +
  'bVx1NQhAgIKctWRpX8VmRUgUVIa/uphIy3BN1YncX/mLeXnkGhvzgqfKvcDda6I7BBh/VAiwMvlOFrAsAYGmreln44QfHaU/3ksY' +
  '6gwCHrIMV8qsBDgT+CVfkdSVcOMxuLd9R8ksQeW1okgHyeWaLWalc3pL//04bnzZX5aHytdHE8JGndz1k5JTL7Pm7RVTYX6CPiUp' +
  'a9V3c/SR/ef/IRVXiG3LaZy/K8VGhsd2ySuaVW38qqLMaeZlchyH8a8AhXqluqeaL1LswBJs7Uks2I0J6yXSxQzvAZs6kVoatnT6' +
  'NUJUkMlQLt6dq7cBa2XuZqJwgH0GxZaMhbs7BUNjAjgTz1Ozs/gAVohSVDOKKbQCI99pCX6febG1kAKsodLbKBn+WxkEBuDH8Dkg' +
  '/CSXiRhJpoYBEC7GxAIp57hWxgEwiFotdCrdibCtKr36PJ/2FH+n2ZnH3OQev6su1TKmEF6xwdRjzixpeLL6eWIItB/K+PikYKnt' +
  'iQWsijba1bg+qccyNWimenimqaulwkZbkpY2bKsDf/5o0tXBKM7OrkuDcPEJJssXHMdyS8Xw/YQDwpKwMFLvIIREFEwZ100M89D0' +
  'NXhhg41EiVR2pBIVvzRz4VXDq+Z8L+88XnhPWmy5BRhDApuIsLvnpo+f/BQn0UDJL0VCGL6NOcaIxN572oiJzKP64G5uglmizrYi' +
  'DXWCL6S5wiIpNUvO9mGdqoNfmLibHOuD0GEDYJZKWmdBdiERsXUCucv6NJGRuzZBW+kizC36XqQfnIoWpDVZ0rfPo6SZ0fBc4fCE' +
  'iSomxz5sRvmCBTvFyx7tfUGmK7Clx3W1gZdTfyYUmEydfCLM/M5QKDxXvTwrbVceJlNBEdvT+F37G5XXTRdwwGOsvNAK9tsBTyAh' +
  'PeFT2VY1Xb5ia/xd7o7ueG1juTgVNJ8fTZ6rYCJLnk2QIsaQ+SZQeQTOPpmaq+82aGRWtPDlr7IV+bx/KPVJxDOijY4d6P6lfOlc' +
  'fq9zirX63Z2iigNnWKBBgUqeBB9KtOMGx0VDwJsI8jhbydYlDFe+k4B8Q9dtkmlCI16XfRrFB426irVNmG2nhc2IlizKW2W7NdcQ' +
  'ZXnrHgu9hyT18xtzDe2G8+vq9fzlnQuX28DnKxGihNtYeZQMQ57tzxgkJ/yPkaRhKbUyOmzFD8fiNdMjCy7h9f7JWN4hurdFriRh' +
  'ugr3G85RN6u3OG6lOkAuElP6hUvQ3DPrQLOmFAIQE2veYCu0soQ62mSQ5wVhnlZgIcuYfC9qu4XIH3/UOF7N07QYLBi8+pAXC91y' +
  'FZ6yJzRk9QR50pSjyMFIh8yG5HftnTGpal3Wr7QuCf2C0LQCBsU6ZXWgQ+V/EdVX13jEiEQLyhF5b9BeI63lA+aAAAAAAAAAnmxN' +
  'nQABmQyAQAAArEUPoT4wDYsCAAAAAAFZWg=='

/** `xz --block-size=2048 --check=crc64` */
export const xzBlocks: string =
  '/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4Af/AYldAHSLvkAL9YbyhL7qA9mtOqp5PCso/tHZqfflTuwYBF2if3eRUEdCywAPX/0X' +
  'kh9KxJiVg0mVhOOq0dAsUSt8jsBqmYwinfiTOlc3w0hJaSYVp6SHl4Vk5tx5y6k1rOD4d1b4KhS5ZYN9ENWOhIwZnnudmXiLwLdU' +
  '6cBp84xiHf9WPK7k3qoRxDLbKnhEjF5jsC3OOOnNCk4v02O3+bN+zSFMxBEDCtUoRPVxSub76S0p0eJvwAJge+FD2vfcydDxezSX' +
  'uDbGAHaGkL98T7nJnBoA04i+yWGRO2OiuOxjnosT9TTyLm+sFYHDNaqWXKCu0MYIPUcM2K3JyMa+yuLf0EtL6BNTU2L1PfgZYhh+' +
  'xjd8cCaefBDyQcy7kTgISz8YCzgXL982bu1kQJHeFMYAohwmASpmJ0K3q52cS7crr2W2Mjp2UzUXLvZSs7gJxWLci6ArkPIzTz2E' +
  'EDasqa84FQwRA7Q5HEMFH4ncxhrxmOxM/fTDGuySl0wk5jdBeIEgqXTkE5hQ7bvOAAAAAAB08YJkZROXPAIAIQEWAAAAdC/lo+AH' +
  '/wGNXQB/gC3Oe11duMO17V9Z6Z4OxFD8Sx9ehdfhkcKuIY+9KE8yiMD3TBTU0kfKZ4qEcqLWDxo0wPIIer/fcWrTZN15MiTVVS7P' +
  'vtKjKAX2jMkLLmiqvpyORcCEbOrL42BIDOHPqLFhaAMmXp4GpOiQhfSuhQA1bnPLQg1dJI771K+7+XuA5QoqC8EgPf52orP7RlDl' +
  'uBEAJm6wQ0nwZ76atXlj1HjC1ZGBZA7EH+YU/sUDYjwQaf1U0VWjmKX4TYVNM0x148tXfZ8LZN96cb2QkQv+048/Gzuoes8U2zZ1' +
  'XiqXPiP668HCNfs0xSJuW6x8oXtLIn1VRMkKdyjg/nZB28DBMxtqBSiuADJXTlhDpNQdealiEjBhfzGtLP+i0lYofBuco6SgPzlL' +
  'G9hAM2K7IWow/d3WthmNZ0O+XW14w93Y3wwlVwGVWE5J096KeekbsVzD/Lmhf+A7Pl6Flak+YUScCARidEapimB8fI8wPwrPVkR7' +
  'IqtI20n83F6dlJ4flZkgXIrtlWrpTD/2zRbHAAAAALLYM6hjiOKGAgAhARYAAAB0L+Wj4Af/AdVdAH+6QZIfBhQCGpYBImgBOCgS' +
  'urpCKeFXCfOYEJ4dSXkJHzFeMV6n8WlmX9yju4b5zFMsdQzqDm7TNBhwFYW6KOAjYlDsJ5OLRETtJn4CmQCle0mUT5RZVSxrM2/w' +
  'CqwR3A7wH/AuPPDVR91uMF3eHwtir/bpryTyFkvdpxq3HzWJpQ8l0vXnUQUMbxfwpuHF4LLtVZfAPU54KSPWs3LfPouTnYdKfttf' +
  'g8+Zq+XY1rlb0zliCUSuHbZ+ycx6lkAmPofLiTsQkzEXNfhxNqzTGFnPLsEXJBYpGw+Rt3q7272zcNi8dlzJiD0znpozCdIEa+dN' +
  '9MxsSEHbBN9TCJaDRs2wBR2lId0/38u/QWqNTawsn+XXYjACneL5vix98DKyik6y1MshAvq/7O4NCdvUVbPPGCDuNOcMA1wW5G9u' +
  'KX8c8+81jMfcbWrUHFoBRTTgTaBIYI76Adtjm+fbTnlCZG/e3L+8jAjaTRpQPx2TXAPZHDj+Wax5DVUcAQUtQ/pRtrBI9GGZW2lx' +
  'R/cqwf4WMkd6Jg50iZS9Wkx6lpeD8wtA7z/nOF5uaAavllJl4iatfQboTaH1LcZuGoJXX0P6MXkjb0OvXmJL6WeSDGUnCMIj+BAz' +
  'RQAAAAAA3f39GhepaowCACEBFgAAAHQv5aPgB/8BsV0ANpwKs+/eUBsF3QOQH0aUZOkvOAGWQ1IuoVjOxp2D/vC1cEL+U7GYvAGQ' +
  'q/KrLBGI3XzHp+kNFC4KzODYrNZNmtT4ZAVJVEugv4vKTnwPN52FSQO4iaT7paXRiM3nkfqT1k3PWR/MgggMH0YqRNOZASKmcxtu' +
  'Y23PfegnZr287bAzhZGtE/XXm7IwQamZIuknWHqjs8zOeNPxZHPbl2RxRjZug4Kbj6U3DUg/W9ShPdXr+huqS9hGoAAlE9MwBbPa' +
  'wnOQs/wyVSP890u6+rXB0N8UChUVlDQPc6VXP1bEHK7kIhQfcTTSC9mwMO7ZKg9MwldO7iuUr2NNfnXOCpOsgscxg0KncYD6Xo6D' +
  'ra561K9aA40lTmpOvcyGdGdgUgCj/tjKgtcLE9Hba591GRnmJyToXRNY6X9AHni0ozKPJ7dHzma37CXOLYUdynCMN8nnIxYF9o0A' +
  '3L374lTUKEpZO4+AHgkdxXSC0Cf6fc8mYmg2xRyVR6PCsZidnv2ABdBlDjRnYIrc49RMW5YXhIB48P65BJaRlQ4dRCZdGB5BuUl2' +
  'HYvTfi3F8OSKdMQAOCcwAAAAAACTcDwBue8ktAAEpQOAEKkDgBDxA4AQzQOAEAAAHo+awAn0YuYFAAAAAARZWg=='

/** `xz --check=none --lzma2=lc=1,lp=2,pb=0` */
export const xzContexts: string =
  '/Td6WFoAAAD/EtlBAgAhARYAAAB0L+Wj4B//BUATAHSMHHaZIqNERcT7uWBMyEQwv+1Qqsqgc6jG3gQqDNptJNbYD3zgwSwxRnxN' +
  'NTh0ndKgT5SchIEK7mfyVO5kOYF25aZ+GjPMF4Vl59Ypw+gbbZy4FedsOYd19mTJT8pc/+gONgoZtwlOJK0tRfHilFZ8RLrPuXC2' +
  'eFax+NiQXpyxqYvQho4bnKSVhEQmKxcqApqFX1U8RZ5uUSXVTVZXgZ233DwED7XV90myjBiEBTcTal27K6Kt9JaxWv7XpZc6RWVF' +
  '1poOPL4Bzi8cpEXtagyQOUZaBsh89djm5s+Erz2l4Q+78lh2uBNBdsX+mS0GS/eEr/HgVfqDoQQtXmz2A4Nkh8SHMArXpcLa4SdY' +
  '5OtfWra5ado3hhYHJqLj5+BeuzByN0owsNWso9rGzVLFGRtSG4927hXcJe50PK4Q6/S3WI3SGvhQWyjv/AjmekLbttGjLaBeGtA6' +
  'KvzY1I+odVwU2f8Ir/LwSbeD7fzh+zO5oIYbUSWECGhJTxwqTf9wNej1c8Aazcxaqp5s+oD2GwKrzbaYzSeiVzApFCvLMr+MViLf' +
  'a+NwYKOEFiKfK++SwWXQZvKYOQV6E5Ht+Isxi/3QtDRIyTva51VxNGlmC886J/17PTjbOg7W5PakeSsngZvkdZc0G2wed4BgRqJm' +
  'kcn61CfubXyzlaSCQgoJHaSTOWF5qhufI1KdN8v9Ac4ebQJprSW/n5micnQZyrf/K53d0KJIF1WKLN/8Vz1bi5IOQsCnn9tLItLu' +
  'sZy856i/hiv+hNWerwRmzj8mA8tMApqaq/xbYJm8aWmaNSMq34Z3dZYtj0dsqu5esfRuqI7j8ObgUP9wjlPIpkJcXTEQ26wVN/53' +
  'TbWH2dM2YfcU6sfNNtD83rbVxFStbzI7f3bUIbGnMpCyyXqljTIWWX1YTIYnuKLTAu/5fYfBRQ1XbpnKs9wU7WvjEjw4+GL6ChRe' +
  'cWxzvdk9oxxkrX1SmJMlrTBcHhAknflSJogQtnJYzuqJwIJdJs58kBWqnxJfQgPSzgE+jGyce8wX8M6yfTX/DtvSVmemy09jbB5G' +
  '55OLrMcUH6tmHyvRb7DR83B4NlgJebCm+tFswaU7AJUGZpPX2s3nolwYbQuSblfDBWEaxhjLgi7MlArCBlBwOVR7R2D2p8z8dPWN' +
  'njPsVumgpejr6qRuFvwWVtNzRNnVNYiAjhsBIuBXJQrzupTYnip9Ui4XUoYUJUFedosyy+9UeCaq75Lx36vL/lxbzAX0/N9Xx1C+' +
  'Ol6BR93xmZzfBrdsbS9y8VRF8DYxPyttBWO5V6wuUbJ4BioH81DSEWID+zEPF0K5r13c/Pe/zaajkPtWF3GmO7JDW5qGZTWwG8Y0' +
  'xoZxT7q9In0sgXpSDEpoirL0y5XfihD6opiAwLfJXoTWnAcRpxb4DuBLmSgUHiw3ySRCU3/FxEvvLfSgch7inb8UCmrNR6bqS8Wg' +
  'Bybau0cNIKLpR1IW8pVsEe73iADMAi2WqX+BE49GSV7OaiRfPm7NwsuY02d63WIP8yXjVv/vENUbX7XsRWQxjjqBF4SAbuRKZUU4' +
  'ptmgRREgfIko4dLgmOZChLINhXkVGBHqmM2TTfRmtAXe4AzZC9BYfmS2LilVdFIHGcTSU4qj4zvUPBnGa3eE1o7sBED++Et0lPSL' +
  'y6j08C2a41IcgwBOLh35hOWHhAt9x6tEjC7nP7zhOwSkBP6Ma1HNEHdRR6Q437FyKr9Rl0N1fyPzNYANEmGk+ZHTj6ncb8Hs9a4r' +
  'zip7VrPoB0sMFHxKX104nPrsSjJkRfwAAAAAAdQKgEAAAL6piZ2oAAr8AgAAAAAAWVo='

/** `zstd -19` */
export const zstd: string =
  'KLUv/WQAH00qAPZuoUCAqs1wlt5cuhg1H61AC25j5G12WP/hTMFA4sKUyZinnz07eGvX9QpmYearDWsnHZzkrLa2LYz89QAcoYX/' +
  'be8UkwCTAIsAPSXXKVxoT4m4KeyMyD5W0N1BGY5gKdpGtUNRe5dQ2jN0CnuXUx41EtAqTNNjG6qeQlAZ0d1Cdpbok4ubKuy+vat7' +
  'KxUaqasc36DO0GtiV6FQaicFNcW0pdN2AgwCilLc3dxtgeyCho83fjVGLiIydow/rrZ+I5AeWVo5xiE/GyMPIb8fM0YdNLC0fIxX' +
  'OILYOwkPYoTv8lkxg1IcGwC1CXhAYlPzCrrrh8qjVkQpUe/+MeACbdQuAOf2kJYGVQ2wNCiNJaDuAuI6o0mU5xkaiOFAivpW5szJ' +
  'gxCK83fPriz+QMuTfgDsB4DPcBcNTKl4UynaUkm+wuaBuQ7tEfTaDXqB8PVcC2XqPW0p2kxhbhct0Ww60YQl4Yp2aBpy67zU1gV7' +
  'XmoHu4O2TqeEHiMzvjRNo38d9cj8a55hiu++z9Mgbo9dTojryMtjqO/1dNp27zDRLA6K5FREbSQTu4VuKJ4sA9QpJmk9fXkyu8uS' +
  'zO7dNbQIaifoOpcuAWK+VnS8n6d3N5DaO6vv6jHzqW0Fmk5xl0a5aIq7e6asaRgF5Sb8PWSjlFOgkhXP9yZqL3iidp7TZILaSxZ0' +
  'd06VESU+5rk09t0yFB8jeqPGoDcUt28qdPcMStM5Q+y+XVHcEG4J91M0H7qLtpXhjvOsAADqlgfFnjYjwJKldi7LhRTRPPLdOl+a' +
  'YoZHupsmR9MWaKdMY9QuYqIMvmsmZTeRuE/EIa2DcbUXdqrU1pH1PuiumpwH4GmKu4LKTsEXRX1nHoE9qCGlp4RkJCkopM1xHMSM' +
  'gk67dZJxBCFIEAShQAhhCBIEISAbQ4iAGEIERUCpWqgDChKw6Q3BMTSpCl8SwtZkUiMOBCFCy8tokW1mHbvAZ4g5/uKeK5Ehuf+Q' +
  '42M+HgrZbMwNhTo+0Kx6FcFj9UIzgS6Jnle9QO4sEIQM84lILZkQi1gE465BkV7aSJLPTj2hOz6Vnw1tgNdBy6Q18jNNFY9fpYDo' +
  'C3V/YixNxmQgqexRZ2bIWiJP0y9DsNeUI0CDDhcY/3p8cm6s+BHI6cUpxCmz0ahjehl+D4cwT6mhifKL7UO4+Ka+h4Qsv8yh4hT3' +
  'Ok2i/Pprq1SDJahNp8XiKJX0Xwo1S3ycRXXtB1GwsOVlYbmd5zfI5GwT4+NrhIKr/8v+bkSNhna/eYvFasGH6B9weraBJoYTNIP4' +
  '+v3LACggrwVXIwDKGua9SPCCXufWkMHAwVtaywwMJIrQMxSw4cEVarEpJMxzX8rX4yncLqztL2Oas9hqxhTzVGaWYIbYA/v8GAB/' +
  'eKGmbHM1W1ev/XddQLc7faweSnfthTMXib/cS084JVliP7EBTqA8V1MFXcn35XoA4tHUSPylpfy0OSElu3egvRSbQLALl6Dy3+eX' +
  'AhhJXIAFI+r16IJdIEUda2awNbtqiGNlv/yZXMAUz/kdEekXu8qPAATlbYAiJ47XTP5O6JZuA/rXS3EA/DieoQbEg3aQDnygDl+G' +
  'c/nbebO/KV5Mhvsj1JKz9YUcYeMRSmORWvPhxSRf5FwKwFu4AYQdVGgiQQ5BgTzcNzTM7y8d1VIaqInsvMcZ9Nwxl4pPOgUf556i' +
  'DslmLy2cn6T4YL1jJlo1a8uBUPgvvHyLLqmVi02dRyFjnCH8z8e8rcMR5n1TyD1LKKwjDwH3g7nbGXuZAZGRnp1lGULfYpG9b3WB' +
  '91DYeAh+lL0+SgHuqtNybAA='

/** `lz4 -l -12` */
export const lz4: string =
  'AiFMGAoHAADwFekvEgAAdGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIB8An2xhenkgZG9nICwAGT/pOjZdAEgv3TVdABsS' +
  'AAEAf+kJ////AkhrABohChE6APAPNyMAAABIAEgDSAJI6PYQAADoJSMAAOhUNQAA6bP+VgAPzwAFHwABAAUuAUgUAA+bABlw6Dv+' +
  '///paowAEGUFABAsDwD/BcM0AADo6ADp/+j//wAA6QDpsjQAAQAMMOlbIo0AIOiIOwDwAef9///ofjQAAOlFIgAA6UAFABA7BQBv' +
  'zv3//wBIQQACIOiyNQAQSTUALtwPbgAMLgBg7CEAAOh/TwAP8QAcP+myISwBBwj1AAwBAA8sAQV+AUjp9/z//6sAD44BIAjiAAeL' +
  'AIrolvz//+n5IBYADywBBR8DYQEDDywBBSkCSOsBH5NsAgYIJwAvAUgsAQUATwA/+///LAEFLugzYAALbQIg3Q3EAA/FAhouEjIy' +
  'Ag/FAA8PLAEfD4wERQhJAyBGMUkDD/8AGgg+ASsHMTwCDtMCDywBFo/phh4AAOiBHlgCBwleAA8UBRtP9gsAACwBBQ9oAUVP6IEL' +
  'ACwBBgQBAA8sAQX/A+l4HQAA6T8LAADooi8AAOhpHTkBBi9OHfgDJB9ILAEHCWwBDywBHa/oiAoAAOm3HAAALAEeDkwCDSwBCkME' +
  'CnICDiwBDDgCWgNI6R4cEwAPAAJGDxkDEzboWgkNAA8sAR096YUtZwQPLAECCbcDT7T2///2AxwrgfZEABBwEQBPa/b//zQABVDp' +
  'thoAAH0ID1QJRnBVGgAA6YQsBwYPuAAGLzEaowgcnzQsAADok/X//ywBBV8BSOncGVUAGw8sAQU/6ZMZ4wgGfxD1///ppytgBQcw' +
  '6VYZNgU/9P//ggAFP+kAB5YGDT/oRSuCAAZ/jvT//+m9BhULRw8sAQUPrQAGf5gqAADpXxi/AydaAUjp7AU/AA8sAQZNSOjBBVwD' +
  'i+h58///6NwXmQA/Y/P/LAEGD5sHJA+zAQcHDAAPLAEFMOg6FwgFHyl7BxQvQCklAxzPpwQAAOnWFgAA6NEWYAAPD9UDGk8Y8v//' +
  'NQgXL4YougAcL1UoLAEH3+mc8f//6DMoAADpxgPKAC5f6IIDAAAsAQUPdAZGf0EVAADoCAO3ACcPLAEFDXsBL9cUWQAbD2cKKCA4' +
  'AvEG8AXv///pLgIAAOiRJgAA6IwmAADpHxkAEBoFAJ9JFAAA6Nzv//9jAAUPmwoLr+gJFAAA6dABAADiB0AFLAGP6W8BAADo0iVa' +
  'Ai0sKAGMDw8sAQQv6P5bAB0gme4aEA/MAAUv6K4sAQg/6MUSWQlTYAJIAEjoJIoAEB8FAJ/m7f//6UkSAAAsAQUw6Pj/ChAg6fGl' +
  'BRAgpQAPLAEED88CGz/oof8sAQdw6bgRAADpf3IALq4R/A8ELAEPQgIFHwHfDBtPfyMAACwBBSDoLooAL/X+VwUYDxAIA5/mEAAA' +
  '6eEQAAAsAQUPNAABHyKAAhwmtSJtAip1EGoQDwAOJx8CBxIEEBPTACqm69sKD7EHMQI0Eg8sAQVf6Gf9//9nACoJOAKwTQ8AAOh8' +
  'IQAA6Q/XEhA+DwA/bSEAAQAw7+iK6v//A0gASOmB6v//LAEFIOkAIBMsX+piAjHptA63AS95/O4AG4DpsCAAAOlD/LUDDywBBYDp' +
  '8On//+lTDgkFDywBBTvpzOm1DBC7EQAvHg6TCBwRhUcAEQ1PFQ8vAQuw9x8AAOi+DQAA6O0KABBMpACf4x8AAOl2+///LAEFP+nB' +
  'HywBBwn0Aj/olx+7ABxPMg0AACwBBV/p4fr//2USUA8uEyEP3QMbDywBBg9rAAYgGgzOAY/p3/n//+hCHqQEHE/dCwAALAEdOuhA' +
  '54wCBIoAL1z5jA8dPOldCwwTCeUCED4fAJ8F+f//6QD5//8sAQVe6UsdAAAsAQ+LASsPlhMc/wIs5v//6Sfm///oigoAAOi5HI0U' +
  'KT/oEvjPAhvPA0jo3/f//+gOCgAALAEFEAE9GX+F5f//6YDlQQcUC5oBEHxjAHB39///6aYJmAUf96UAG0/opBsA7QYcD0oABQ+L' +
  'AxguA0gqF4Cz9v//AOmt9gAPHAiPBw8sAR0PAwEaL6EaSQAHDywBBT/pbBrDGgQKZwkPLAEFD8oWDA/pFhAJPQF/dvX//+hx9cwb' +
  'HQBHAC9vB0kBCQ9VDSctFwesAi8EBwANJw+hAAYJpAMvogZnCg4bs+ARCQwAImIG1Rzf6CX0///oVAYAAOlPBo8BAj/oNwYsAQcP' +
  '+wodDywBBCDo0yISLM4FYxYAAgBf6U/h//8sAQUz6c4XyAAIkgFguRcAAOlMYRIQRwUADywBBA9PFUZgnuD//+g1DREiMBf3AC+M' +
  '4CEIdlAAAAAAAA=='
